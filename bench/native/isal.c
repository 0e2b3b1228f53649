// ISA-L in the same run: parity, reconstruction, CRC-32C and memcpy, in GB/s of source data.
//
//   isal SECONDS_A_CASE SIZES KS          sizes and data units as lists with commas
//
// One line a case on stdout: who kernel size k m place GB/s. "ISA-L" takes the best that the processor has,
// "ISA-L SSE" its code for 128-bit vectors. Of many short batches, what a quarter of them reach or exceed, as
// for the other kernels.

#include <isa-l.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern int xor_gen_sse(int, int, void **);
extern int pq_gen_sse(int, int, void **);
extern unsigned int crc32_iscsi_00(unsigned char *, int, unsigned int);

#define ROOM_BYTES (192ull << 20)
#define PAD_BYTES 192
#define BATCHES 41

static uint8_t *room;
static double secondsACase;

typedef struct {
  int k, m, bytes;
  void **units;
  unsigned char *tables;
} Job;

typedef void (*Work)(Job *);

static void xorBest(Job *j) { xor_gen(j->k + 1, j->bytes, j->units); }
static void xorSse(Job *j) { xor_gen_sse(j->k + 1, j->bytes, j->units); }
static void pqBest(Job *j) { pq_gen(j->k + 2, j->bytes, j->units); }
static void pqSse(Job *j) { pq_gen_sse(j->k + 2, j->bytes, j->units); }
static void ecBest(Job *j) {
  ec_encode_data(j->bytes, j->k, j->m, j->tables, (unsigned char **)j->units, (unsigned char **)j->units + j->k);
}
static void ecSse(Job *j) {
  ec_encode_data_sse(j->bytes, j->k, j->m, j->tables, (unsigned char **)j->units,
                     (unsigned char **)j->units + j->k);
}
static volatile uint32_t sink;
static void crcBest(Job *j) { sink = crc32_iscsi(j->units[0], j->bytes, 0); }
static void crcSse(Job *j) { sink = crc32_iscsi_00(j->units[0], j->bytes, 0); }
static void copy(Job *j) { memcpy(j->units[1], j->units[0], j->bytes); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int compareDoubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void measure(const char *who, const char *kernel, Work work, Job job, int isWarm) {
  int units = job.k + job.m;
  size_t stride = job.bytes + PAD_BYTES, stripe = stride * units;
  int stripes = isWarm ? 1 : (int)(ROOM_BYTES / stripe);
  void **table = malloc(sizeof(void *) * units * stripes);
  for (int s = 0; s < stripes; s++)
    for (int u = 0; u < units; u++) table[s * units + u] = room + s * stripe + u * stride;
  double start = now(), rates[BATCHES];
  long calls = 0;
  do {
    job.units = table + (calls++ % stripes) * units;
    work(&job);
  } while (now() - start < secondsACase / 4);
  long batch = calls * 4 / BATCHES + 1;
  for (int b = 0; b < BATCHES; b++) {
    double from = now();
    for (long i = 0; i < batch; i++) {
      job.units = table + (calls++ % stripes) * units;
      work(&job);
    }
    rates[b] = (double)batch * (units > 2 ? job.k : 1) * job.bytes / (now() - from) / 1e9;
  }
  qsort(rates, BATCHES, sizeof(double), compareDoubles);
  printf("%s\t%s\t%d\t%d\t%d\t%s\t%.3f\n", who, kernel, job.bytes, job.k, job.m, isWarm ? "warm" : "memory",
         rates[BATCHES - 1 - BATCHES / 4]);
  fflush(stdout);
  free(table);
}

static void measureParity(int bytes, int k, int isWarm) {
  unsigned char matrix[32 * 32], tables[32 * 32 * 32];
  for (int m = 1; m <= 3; m++) {
    Job job = {.k = k, .m = m, .bytes = bytes, .tables = tables};
    gf_gen_cauchy1_matrix(matrix, k + m, k);
    ec_init_tables(k, m, matrix + k * k, tables);
    Work best = m == 1 ? xorBest : m == 2 ? pqBest : ecBest, sse = m == 1 ? xorSse : m == 2 ? pqSse : ecSse;
    measure("ISA-L", "encode", best, job, isWarm);
    measure("ISA-L SSE", "encode", sse, job, isWarm);
    // m lost units from k that are there: the same work, whatever the coefficients are; one unit is an XOR.
    if (m > k) continue;
    measure("ISA-L", "reconstruct", m == 1 ? xorBest : ecBest, job, isWarm);
    measure("ISA-L SSE", "reconstruct", m == 1 ? xorSse : ecSse, job, isWarm);
  }
}

static void measureBytes(int bytes, int isWarm) {
  Job job = {.k = 1, .m = 1, .bytes = bytes};
  measure("memcpy", "copy", copy, job, isWarm);
  measure("ISA-L", "crc-32c", crcBest, job, isWarm);
  measure("ISA-L SSE", "crc-32c", crcSse, job, isWarm);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  secondsACase = atof(argv[1]);
  room = aligned_alloc(4096, ROOM_BYTES);
  for (size_t i = 0; i < ROOM_BYTES; i++) room[i] = (i * 2654435761u) >> 13;
  for (char *size = argv[2]; size; size = strchr(size, ',') ? strchr(size, ',') + 1 : NULL) {
    int bytes = atoi(size);
    for (int isWarm = 1; isWarm >= 0; isWarm--) {
      measureBytes(bytes, isWarm);
      for (char *k = argv[3]; k; k = strchr(k, ',') ? strchr(k, ',') + 1 : NULL)
        measureParity(bytes, atoi(k), isWarm);
    }
  }
  return 0;
}
