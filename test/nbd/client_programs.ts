// Other people's NBD programs against our server: libnbd's, QEMU's and fio. The suite takes whatever export it
// is given, so that it runs over memory here and over a volume of a real node elsewhere. A program that is not
// installed skips its tests (Debian: libnbd-bin, qemu-utils, fio).
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, skip, suite } from "../support/harness.ts";
import { isInstalled, run } from "../support/process_programs.ts";
import { pattern } from "./raw_client.ts";

const MIB = 1 << 20;
export const EXPORT_BYTES = 24 * MIB;

/** An empty export with the name "disk" and EXPORT_BYTES. */
export interface OpenExport {
  /** Two addresses of it, in the URI syntax of NBD; they may be the same. */
  readonly uris: readonly [string, string];
  close(): Promise<void>;
}

/** Makes a fresh one for each test. */
export type ExportFactory = () => Promise<OpenExport>;

interface Ground {
  readonly folder: string;
  readonly uris: readonly [string, string];
}

/** `programs`: only these; all of them unless given. */
export function clientPrograms(name: string, open: ExportFactory, programs?: readonly string[]): void {
  const test = suite(`nbd clients: ${name}`);
  const against = (program: string, what: string, run: (ground: Ground) => Promise<void>) => {
    if (programs !== undefined && !programs.includes(program)) return;
    test(`${program}: ${what}`, async () => {
      if (!isInstalled(program)) skip(`needs ${program}`);
      await withGround(open, run);
    });
  };

  against("nbdinfo", "lists the export and describes it", async ({ uris }) => {
    for (const uri of uris) {
      const list = JSON.parse(await run("nbdinfo", "--list", "--json", uri.replace("/disk", "/")));
      assert.is(list.exports.length, 1);
      assert.is(list.exports[0]["export-name"], "disk");
      const described = JSON.parse(await run("nbdinfo", "--json", uri)).exports[0];
      assert.is(described["export-size"], EXPORT_BYTES);
      assert.is(described.is_read_only, false);
      for (const can of ["flush", "fua", "trim", "zero", "multi_conn"]) {
        assert.is(described[`can_${can}`], true, can);
      }
      assert.is(described.block_size_minimum, 1);
      assert.is(described.block_size_preferred, 4096);
    }
  });

  against("nbdcopy", "copies in and out unchanged", async ({ uris: [uri, otherUri], folder }) => {
    const data = image(EXPORT_BYTES);
    await writeFile(join(folder, "in"), data);
    await run("nbdcopy", "--connections=4", "--requests=64", "--flush", join(folder, "in"), uri);
    await run("nbdcopy", "--connections=2", "--request-size=1048576", otherUri, join(folder, "out"));
    assert.ok(data.equals(await readFile(join(folder, "out"))));
  });

  against("qemu-io", "writes and reads patterns of any alignment", async ({ uris: [uri] }) => {
    await qemuIo(
      uri,
      "write -P 0xa5 0 64k",
      "write -f -P 0x11 1000 3333",
      "write -P 0x22 8388607 1048578",
      "flush",
      "read -P 0xa5 0 1000",
      "read -P 0x11 1000 3333",
      "read -P 0xa5 4333 61203",
      "read -P 0x00 65536 1M",
      "read -P 0x22 8388607 1048578",
      "read -P 0 9437185 511",
    );
  });

  against("qemu-io", "zeroes and discards", async ({ uris: [, uri] }) => {
    await qemuIo(
      uri,
      "write -P 0x77 0 8M",
      "write -z 4095 8194",
      "write -z -u 1M 2M",
      "discard 4M 1M",
      "write -P 0x66 4500k 4k",
      "aio_flush",
      "read -P 0x77 0 4095",
      "read -P 0 4095 8194",
      "read -P 0x77 12289 1036287",
      "read -P 0 1M 2M",
      "read -P 0x77 3M 1M",
      "read -P 0x66 4500k 4k",
      "read -P 0x77 5M 3M",
    );
  });

  against("qemu-io", "keeps many requests in flight", async ({ uris: [uri] }) => {
    const indexes = Array.from({ length: 64 }, (_, index) => index);
    await qemuIo(
      uri,
      ...indexes.map((index) => `aio_write -q -P ${index + 1} ${index * 256}k 256k`),
      "aio_flush",
      ...indexes.map((index) => `aio_read -q -P ${index + 1} ${index * 256}k 256k`),
      "aio_flush",
    );
  });

  against("qemu-img", "knows it, converts to it and from it, and finds no difference", async (ground) => {
    const { uris, folder } = ground;
    const [uri, otherUri] = uris;
    const info = JSON.parse(await run("qemu-img", "info", "-f", "raw", "--output=json", otherUri));
    assert.is(info["virtual-size"], EXPORT_BYTES);
    await writeFile(join(folder, "in"), image(EXPORT_BYTES));
    await run(
      "qemu-img",
      "convert",
      "-n",
      "-W",
      "-m",
      "8",
      "-O",
      "raw",
      "-f",
      "raw",
      join(folder, "in"),
      uri,
    );
    await run("qemu-img", "compare", "-f", "raw", "-F", "raw", join(folder, "in"), otherUri);
    await run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, join(folder, "out.qcow2"));
    await run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", otherUri, join(folder, "out.qcow2"));
  });

  against("fio", "verifies what it wrote at random", async ({ uris: [uri], folder }) => {
    const job = ["--name=verify", "--ioengine=nbd", `--uri=${uri}`, "--rw=randwrite", "--size=16M"];
    const how = ["--bsrange=512-64k", "--blockalign=512", "--iodepth=32", "--randseed=7", "--fsync=64"];
    const check = ["--verify=crc32c", "--verify_fatal=1", "--do_verify=1", `--aux-path=${folder}`];
    await run("fio", ...job, ...how, ...check);
  });

  test.run();
}

async function withGround(open: ExportFactory, use: (ground: Ground) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mirrorvol-nbd-"));
  try {
    const { uris, close } = await open();
    try {
      await use({ folder, uris });
    } finally {
      await close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A disk image with data, holes and odd borders. */
function image(bytes: number): Buffer {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 5 * MIB)
    data.set(pattern(3 * MIB + 17, at / MIB).subarray(0, bytes - at), at);
  return data;
}

async function qemuIo(uri: string, ...commands: string[]): Promise<void> {
  const output = await run("qemu-io", "-f", "raw", ...commands.flatMap((command) => ["-c", command]), uri);
  assert.not.match(output, /verification failed|failed:/i);
}
