// Other people's NBD programs against our server: libnbd's, QEMU's and fio. The suite takes whatever device it
// is given, so that it runs over memory here and over a volume elsewhere. A program that is not installed
// skips its tests (Debian: libnbd-bin, qemu-utils, fio).
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { NodeStreams } from "../../src/io/node_stream.ts";
import { nodeClock } from "../../src/io/node_world.ts";
import type { BlockDevice } from "../../src/nbd/export.ts";
import { type NbdServer, serveNbd } from "../../src/nbd/server.ts";
import { assert, skip, suite } from "../support/harness.ts";
import { pattern } from "./raw_client.ts";
import { directoryOf } from "./served.ts";

const MIB = 1 << 20;
const EXPORT_BYTES = 64 * MIB;

export interface OpenDevice {
  readonly device: BlockDevice;
  close(): Promise<void>;
}

/** Makes an empty device of at least that size for each test. */
export type DeviceFactory = (bytes: number) => Promise<OpenDevice>;

interface Ground {
  readonly folder: string;
  readonly device: BlockDevice;
  /** Over TCP, and over a Unix socket. */
  readonly tcp: string;
  readonly unix: string;
}

export function clientPrograms(name: string, open: DeviceFactory): void {
  const test = suite(`nbd clients: ${name}`);
  const against = (program: string, what: string, run: (ground: Ground) => Promise<void>) =>
    test(`${program}: ${what}`, async () => {
      if (!isInstalled(program)) skip(`needs ${program}`);
      await withGround(open, run);
    });

  against("nbdinfo", "lists the export and describes it", async ({ tcp, unix, device }) => {
    for (const uri of [tcp, unix]) {
      const list = JSON.parse(await run("nbdinfo", "--list", "--json", uri.replace("/disk", "/")));
      assert.is(list.exports.length, 1);
      assert.is(list.exports[0]["export-name"], "disk");
      const described = JSON.parse(await run("nbdinfo", "--json", uri)).exports[0];
      assert.is(described["export-size"], device.bytes);
      assert.is(described.is_read_only, false);
      for (const can of ["flush", "fua", "trim", "zero", "multi_conn"]) {
        assert.is(described[`can_${can}`], true, can);
      }
      assert.is(described.block_size_minimum, 1);
      assert.is(described.block_size_preferred, 4096);
    }
  });

  against("nbdcopy", "copies in and out unchanged", async ({ tcp, unix, folder, device }) => {
    const data = image(device.bytes);
    await writeFile(join(folder, "in"), data);
    await run("nbdcopy", "--connections=4", "--requests=64", "--flush", join(folder, "in"), tcp);
    await run("nbdcopy", "--connections=2", "--request-size=1048576", unix, join(folder, "out"));
    assert.ok(data.equals(await readFile(join(folder, "out"))));
  });

  against("qemu-io", "writes and reads patterns of any alignment", async ({ tcp }) => {
    await qemuIo(
      tcp,
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

  against("qemu-io", "zeroes and discards", async ({ unix }) => {
    await qemuIo(
      unix,
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

  against("qemu-io", "keeps many requests in flight", async ({ tcp }) => {
    const indexes = Array.from({ length: 64 }, (_, index) => index);
    await qemuIo(
      tcp,
      ...indexes.map((index) => `aio_write -q -P ${index + 1} ${index * 256}k 256k`),
      "aio_flush",
      ...indexes.map((index) => `aio_read -q -P ${index + 1} ${index * 256}k 256k`),
      "aio_flush",
    );
  });

  against("qemu-img", "knows it, converts to it and from it, and finds no difference", async (ground) => {
    const { tcp, unix, folder, device } = ground;
    const info = JSON.parse(await run("qemu-img", "info", "-f", "raw", "--output=json", unix));
    assert.is(info["virtual-size"], device.bytes);
    await writeFile(join(folder, "in"), image(device.bytes));
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
      tcp,
    );
    await run("qemu-img", "compare", "-f", "raw", "-F", "raw", join(folder, "in"), unix);
    await run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", tcp, join(folder, "out.qcow2"));
    await run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", unix, join(folder, "out.qcow2"));
  });

  against("fio", "verifies what it wrote at random", async ({ tcp, folder }) => {
    const job = ["--name=verify", "--ioengine=nbd", `--uri=${tcp}`, "--rw=randwrite", "--size=16M"];
    const how = ["--bsrange=512-64k", "--blockalign=512", "--iodepth=32", "--randseed=7", "--fsync=64"];
    const check = ["--verify=crc32c", "--verify_fatal=1", "--do_verify=1", `--aux-path=${folder}`];
    await run("fio", ...job, ...how, ...check);
  });

  test.run();
}

async function withGround(open: DeviceFactory, use: (ground: Ground) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mirrorvol-nbd-"));
  const opened = await open(EXPORT_BYTES);
  const servers: NbdServer[] = [];
  const serve = async (address: string) => {
    const exports = directoryOf({ disk: opened.device });
    servers.push(await serveNbd({ streams: new NodeStreams(), address, exports, clock: nodeClock }));
    return servers.at(-1)!.address;
  };
  try {
    const tcp = await serve("127.0.0.1:0");
    await serve(`unix:${join(folder, "socket")}`);
    await use({
      folder,
      device: opened.device,
      tcp: `nbd://${tcp}/disk`,
      unix: `nbd+unix:///disk?socket=${join(folder, "socket")}`,
    });
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await opened.close();
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

function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What the program printed; fails with all of it when the program does. */
async function run(program: string, ...args: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n${output}${errors}`);
  return output;
}
