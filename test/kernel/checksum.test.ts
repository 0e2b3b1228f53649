import { Kernel } from "../../src/kernel/kernel.ts";
import { assert, suite } from "../support/harness.ts";
import { oracle64, oracle128, randomBytes, toHex } from "../support/scalar.ts";

const test = suite("checksums");
const kernel = await Kernel.create({ memoryBytes: 8 << 20 });
const sum = new Uint32Array(2);
const hash = new Uint32Array(4);
const largeSizes = [
  4095, 4096, 4097, 65_535, 65_536, 65_537, 65_600, 66_559, 66_560, 66_561, 129_024, 1_000_003,
];

function checkBoth(data: Uint8Array, what: string): void {
  kernel.checksum64(data, sum);
  assert.is(toHex(sum), oracle64(data), `XXH3-64 of ${what}`);
  kernel.hash128(data, hash);
  assert.is(toHex(hash), oracle128(data), `XXH3-128 of ${what}`);
}

test("every length to 1100, from outside the memory", () => {
  for (let length = 0; length <= 1100; length++) checkBoth(randomBytes(length, length), `${length} bytes`);
});

test("every length to 1100 at odd offsets, in the arena, without a copy", () => {
  const room = kernel.arena.allocate(2048);
  for (let length = 0; length <= 1100; length++) {
    const data = room.subarray(1 + (length % 63), 1 + (length % 63) + length);
    data.set(randomBytes(length, length + 7));
    checkBoth(data, `${length} bytes`);
    kernel.checksum64At(kernel.offsetOf(data), length, sum);
    assert.is(toHex(sum), oracle64(data));
  }
  kernel.arena.free(room);
});

test("large sizes, around the size of the staging area", () => {
  for (const size of largeSizes) {
    const data = randomBytes(size, size);
    checkBoth(data, `${size} bytes outside`);
    const inside = kernel.arena.allocate(size);
    inside.set(data);
    checkBoth(inside, `${size} bytes inside`);
    kernel.arena.free(inside);
  }
});

test("runs of blocks, more than one call can hash", () => {
  const count = 300;
  const blocks = kernel.arena.allocate(count * 4096);
  blocks.set(randomBytes(blocks.length, 5));
  const out = new Uint32Array(count * 4 + 3);
  kernel.hashBlocksAt(kernel.offsetOf(blocks), count, out, 3);
  for (let i = 0; i < count; i++) {
    const block = blocks.slice(i * 4096, (i + 1) * 4096);
    assert.is(toHex(out.subarray(3 + i * 4, 7 + i * 4)), oracle128(block));
    kernel.hashBlock(block, hash);
    assert.is(toHex(hash), oracle128(block));
  }
  kernel.arena.free(blocks);
});

test("isZero finds a single bit anywhere", () => {
  for (const size of [0, 1, 63, 64, 65, 4096, 70_000]) {
    const data = new Uint8Array(size);
    assert.ok(kernel.isZero(data));
    for (const at of [0, 1, 62, 63, 64, 4095, 65_536, size - 1].filter((at) => at >= 0 && at < size)) {
      data[at] = 1 << (at & 7);
      assert.not.ok(kernel.isZero(data), `byte ${at} of ${size}`);
      data[at] = 0;
    }
  }
});

test("two kernels do not share a byte", () => {
  const other = Kernel.createSync({ memoryBytes: 1 << 20 });
  other.bytes.subarray(8192).fill(0xff);
  checkBoth(randomBytes(5000, 1), "5000 bytes");
  assert.is(other.offsetOf(kernel.bytes), -1);
});

test("what lies outside the memory is refused", () => {
  assert.throws(() => kernel.checksum64At((8 << 20) - 10, 11, sum), /are not in the memory/);
  assert.throws(() => kernel.hashBlock(new Uint8Array(4095), hash), /4096 bytes/);
});

test.run();
