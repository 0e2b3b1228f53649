// The raw floor of the write path: what is left when there is no volume, no checksum and no RAID. A write is
// put into one entry; the entry is appended to pre-zeroed log files and synced, and forwarded over TCP to
// another process, which appends it to its own pre-zeroed files and syncs; both at the same time. The write
// is done when both are.
//
//   floor mirror LOG_BYTES LOG...                                  prints its port
//   floor direct PORT DEPTH WRITE_BYTES SECONDS LOG_BYTES LOG...    prints "writes seconds", then each latency in ns
//   floor nbd    PORT EXPORT_BYTES LOG_BYTES LOG...                 prints its own port, serves one client
//
// What arrives while a batch is on its way makes the next batch: nothing waits at depth 1, everything shares
// a sync at depth. `direct` keeps DEPTH writes in flight. `nbd` takes them from an NBD client (raw handshake
// with NBD_OPT_GO, simple replies) and reads from the first log file.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 80
#define BUFFER_BYTES (64u << 20)
#define LOGS_MAX 4

static int logs[LOGS_MAX], logCount;
static uint64_t logBytes, logAt;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t nowNs(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void readAll(int fd, void *to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t part = read(fd, (char *)to + done, bytes - done);
    if (part == 0) exit(0);
    if (part < 0) die("read");
    done += part;
  }
}

static void writeAll(int fd, const void *from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t part = write(fd, (const char *)from + done, bytes - done);
    if (part < 0) die("write");
    done += part;
  }
}

static void openLogs(int count, char **paths) {
  static char zeros[1 << 20];
  logCount = count;
  for (int i = 0; i < count; i++) {
    logs[i] = open(paths[i], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (logs[i] < 0) die(paths[i]);
    for (uint64_t at = 0; at < logBytes; at += sizeof zeros)
      if (pwrite(logs[i], zeros, sizeof zeros, at) < 0) die("pwrite");
    if (fsync(logs[i]) < 0) die("fsync");
  }
}

// One thread a further copy: copies are written and synced at the same time.

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static const void *batchData;
static size_t batchBytes;
static long batchNumber;
static int batchLeft;

static void appendTo(int fd) {
  if (pwrite(fd, batchData, batchBytes, logAt) != (ssize_t)batchBytes) die("pwrite");
  if (fdatasync(fd) < 0) die("fdatasync");
}

static void *copyThread(void *argument) {
  int fd = logs[(long)argument];
  for (long seen = 0;; seen++) {
    pthread_mutex_lock(&lock);
    while (batchNumber == seen) pthread_cond_wait(&wake, &lock);
    pthread_mutex_unlock(&lock);
    appendTo(fd);
    pthread_mutex_lock(&lock);
    if (--batchLeft == 0) pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

static void startCopies(void) {
  for (long i = 1; i < logCount; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, copyThread, (void *)i)) die("pthread_create");
  }
}

static void append(const void *data, size_t bytes) {
  if (logAt + bytes > logBytes) logAt = 0;
  pthread_mutex_lock(&lock);
  batchData = data;
  batchBytes = bytes;
  batchLeft = logCount - 1;
  batchNumber++;
  if (batchLeft > 0) pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&lock);
  appendTo(logs[0]);
  pthread_mutex_lock(&lock);
  while (batchLeft > 0) pthread_cond_wait(&ended, &lock);
  pthread_mutex_unlock(&lock);
  logAt += (bytes + 4095) & ~4095ull;
}

static int listenAndAccept(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (bind(listener, (void *)&address, sizeof address) < 0 || listen(listener, 1) < 0) die("listen");
  getsockname(listener, (void *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) die("accept");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static int mirrorSocket;

static void connectMirror(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int one = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  mirrorSocket = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(mirrorSocket, (void *)&address, sizeof address) < 0) die("connect");
  setsockopt(mirrorSocket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// A batch on the wire is its length and its bytes; the answer is one byte.

static void runMirror(void) {
  char *buffer = malloc(BUFFER_BYTES);
  int fd = listenAndAccept();
  for (uint32_t bytes;;) {
    readAll(fd, &bytes, sizeof bytes);
    readAll(fd, buffer, bytes);
    append(buffer, bytes);
    writeAll(fd, "k", 1);
  }
}

// A batch of some megabytes would fill both sockets' buffers while nobody reads: a thread sends.

static void *sendThread(void *argument) {
  uint32_t bytes = batchBytes;
  (void)argument;
  writeAll(mirrorSocket, &bytes, sizeof bytes);
  writeAll(mirrorSocket, batchData, bytes);
  return NULL;
}

static void commit(const void *data, size_t bytes) {
  char answer;
  pthread_t sender;
  int isLarge = bytes > 128 << 10;
  batchData = data;
  batchBytes = bytes;
  if (isLarge) pthread_create(&sender, NULL, sendThread, NULL);
  else sendThread(NULL);
  append(data, bytes);
  if (isLarge) pthread_join(sender, NULL);
  readAll(mirrorSocket, &answer, 1);
}

static void runDirect(int depth, int writeBytes, double seconds) {
  size_t entry = HEADER_BYTES + writeBytes, batch = entry * depth;
  char *data = calloc(1, batch), *payload = malloc(writeBytes);
  long capacity = 1 << 20, batches = 0;
  uint64_t *latencies = malloc(sizeof(uint64_t) * capacity), start = nowNs();
  memset(payload, 42, writeBytes);
  while (nowNs() - start < seconds * 1e9 && batches < capacity) {
    uint64_t from = nowNs();
    for (int i = 0; i < depth; i++) memcpy(data + i * entry + HEADER_BYTES, payload, writeBytes);
    commit(data, batch);
    latencies[batches++] = nowNs() - from;
  }
  printf("%ld %.6f\n", batches * depth, (nowNs() - start) * 1e-9);
  for (long i = 0; i < batches; i++) printf("%lu\n", latencies[i]);
}

static void negotiate(int fd, uint64_t exportBytes) {
  struct __attribute__((packed)) { uint64_t magic, option; uint16_t flags; } greeting = {
      htobe64(0x4e42444d41474943), htobe64(0x49484156454f5054), htobe16(3)};
  struct __attribute__((packed)) { uint64_t magic; uint32_t option, bytes; } option;
  struct __attribute__((packed)) { uint64_t magic; uint32_t option, type, bytes; } reply;
  struct __attribute__((packed)) { uint16_t type; uint64_t bytes; uint16_t flags; } info = {
      0, htobe64(exportBytes), htobe16(1 | 4 | 8)};
  uint32_t clientFlags;
  char name[4096];
  writeAll(fd, &greeting, sizeof greeting);
  readAll(fd, &clientFlags, 4);
  readAll(fd, &option, sizeof option);
  if (be32toh(option.bytes) > sizeof name) exit(1);
  readAll(fd, name, be32toh(option.bytes));
  reply.magic = htobe64(0x0003e889045565a9);
  reply.option = option.option;
  reply.type = htobe32(3);
  reply.bytes = htobe32(sizeof info);
  writeAll(fd, &reply, sizeof reply);
  writeAll(fd, &info, sizeof info);
  reply.type = htobe32(1);
  reply.bytes = 0;
  writeAll(fd, &reply, sizeof reply);
}

typedef struct __attribute__((packed)) {
  uint32_t magic;
  uint16_t flags, type;
  uint64_t cookie, offset;
  uint32_t bytes;
} Request;

typedef struct __attribute__((packed)) {
  uint32_t magic, error;
  uint64_t cookie;
} Reply;

static void answerRead(int fd, const Request *request) {
  static char data[16 + (4 << 20)];
  uint32_t bytes = be32toh(request->bytes);
  Reply reply = {htobe32(0x67446698), 0, request->cookie};
  memcpy(data, &reply, sizeof reply);
  if (pread(logs[0], data + 16, bytes, be64toh(request->offset) % (logBytes - bytes + 1)) < 0) die("pread");
  writeAll(fd, data, 16 + bytes);
}

static void runNbd(uint64_t exportBytes) {
  char *input = malloc(BUFFER_BYTES), *batch = malloc(BUFFER_BYTES);
  Reply *replies = malloc(sizeof(Reply) * 65536);
  size_t have = 0;
  int fd = listenAndAccept();
  negotiate(fd, exportBytes);
  for (;;) {
    ssize_t part = read(fd, input + have, BUFFER_BYTES - have);
    if (part <= 0) exit(0);
    have += part;
    size_t at = 0, filled = 0, count = 0;
    while (have - at >= sizeof(Request)) {
      Request *request = (Request *)(input + at);
      int type = be16toh(request->type);
      size_t bytes = type == 1 ? be32toh(request->bytes) : 0;
      if (type == 2) exit(0);
      if (have - at < sizeof(Request) + bytes) break;
      if (type == 0) answerRead(fd, request);
      else replies[count++] = (Reply){htobe32(0x67446698), 0, request->cookie};
      if (type == 1) {
        memset(batch + filled, 0, HEADER_BYTES);
        memcpy(batch + filled + HEADER_BYTES, request + 1, bytes);
        filled += HEADER_BYTES + bytes;
      }
      at += sizeof(Request) + bytes;
    }
    if (filled > 0) commit(batch, filled);
    if (count > 0) writeAll(fd, replies, count * sizeof(Reply));
    memmove(input, input + at, have - at);
    have -= at;
  }
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int logsFrom = !strcmp(argv[1], "mirror") ? 3 : !strcmp(argv[1], "nbd") ? 5 : 7;
  logBytes = strtoull(argv[logsFrom - 1], NULL, 10);
  openLogs(argc - logsFrom, argv + logsFrom);
  startCopies();
  if (logsFrom == 3) runMirror();
  connectMirror(atoi(argv[2]));
  if (logsFrom == 5) runNbd(strtoull(argv[3], NULL, 10));
  else runDirect(atoi(argv[3]), atoi(argv[4]), atof(argv[5]));
  return 0;
}
