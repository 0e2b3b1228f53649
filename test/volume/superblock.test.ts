// The superblock: what was written is read, and nothing else; and who moves it when members fail meanwhile.

import { SUPERBLOCK_BYTES, SUPERBLOCK_SLOTS } from "../../assembly/format.ts";
import type { Disk } from "../../src/io/disk.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { slotOffsets } from "../../src/volume/members.ts";
import { decodeSuperblock, encodeSuperblock, type Superblock } from "../../src/volume/superblock.ts";
import { SuperblockKeeper } from "../../src/volume/superblock_keeper.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { expectSound, withStore } from "./checking.ts";
import { FaultyStorage } from "./faults.ts";
import { makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume superblock");

const SUPERBLOCK: Superblock = {
  commit: 77,
  cp: 12,
  volumeId: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
  slot: 2,
  dataUnits: 3,
  parityUnits: 1,
  role: "mirror",
  inSync: true,
  everInSync: true,
  sizeBlocks: 1024,
  memberBytes: 6 * 1024 * 1024,
  dataOffset: 24576,
  segmentStripes: 32,
  segmentCount: 46,
  vvbnCount: 11776,
  vvbnCursor: 5,
  mapRoot: Uint32Array.from({ length: 16 }, (_, i) => i * 3),
  containerRoot: Uint32Array.from({ length: 8 }, (_, i) => i * 5),
  freeList: Uint32Array.from({ length: 16 }, (_, i) => i * 7),
  tableSum: 0x1234_5678_9abc_def0n,
  appliedSequence: 991,
  appliedChain: 0xffff_ffff_ffff_fff0n,
  aloneSince: 17,
  boundTo: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
  fencedBy: { number: 3, id: 9n, startSequence: 4, startChain: 5n },
  logHalfBytes: 1 << 21,
  logCopies: [true, false],
  members: ["a", "b", "c", "d"].map((name, i) => ({
    id: new Uint8Array(16).fill(i + 1),
    state: i === 1 ? ("missing" as const) : ("current" as const),
    path: `/devices/${name}`,
  })),
  history: [1, 2].map((number) => ({ number, id: 5n, startSequence: 6, startChain: 7n })),
};

test("a superblock is decoded as it was encoded", () => {
  const kernel = Kernel.createSync({ memoryBytes: 4 * 1024 * 1024 });
  assert.equal(decodeSuperblock(kernel, encodeSuperblock(kernel, SUPERBLOCK)), SUPERBLOCK);
  const plain = { ...SUPERBLOCK, role: "source" as const, aloneSince: null, boundTo: null, fencedBy: null };
  assert.equal(decodeSuperblock(kernel, encodeSuperblock(kernel, plain)), plain);
});

test("every flipped bit of a superblock is detected", () => {
  const kernel = Kernel.createSync({ memoryBytes: 4 * 1024 * 1024 });
  const bytes = encodeSuperblock(kernel, SUPERBLOCK);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    if (typeof decodeSuperblock(kernel, bytes) !== "string") assert.unreachable(`bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test("a member that is dropped while its table page is written is dropped from its own slot", async () => {
  const disks: (Disk | null)[] = [{ path: "a" } as Disk, { path: "b" } as Disk, { path: "c" } as Disk];
  const failing = disks[1]!;
  const dropped: number[] = [];
  const table = {
    writeDirty: async () => {
      // Somebody else's sync fails on it first: that is how a store hears of a lost member.
      disks[1] = null;
      return new Map([[failing, new Error("EIO")]]);
    },
  };
  const raid = {
    present: 0b101,
    dropMember: (slot: number) => void dropped.push(slot),
    sync: async () => 0b101,
  };
  const keeper = new SuperblockKeeper({ disks, table, raid } as never, {} as never);
  await keeper.writeTable(5);
  assert.equal(dropped, [1]);
});

test("what a crash tore in the place of the next superblock is cleared before that is written", async () => {
  const memory = new MemoryStorage();
  const config = smallConfig();
  await makeVolume(memory, config);
  await (await openVolume(memory, config)).close();
  const commit = await withStore(memory, config, async (store) => store.superblock.commit);
  const places = slotOffsets(config.memberBytes!, (commit + 1) % SUPERBLOCK_SLOTS);
  for (const offset of places) memory.poke("b/m", offset + 512, new Uint8Array(512).fill(9));
  const storage = new FaultyStorage(memory);
  const cleared = new Set<number>();
  storage.gate = ({ path, kind, offset }) => {
    if (path !== "b/m" || kind !== "write" || !places.includes(offset)) return;
    if (memory.peek("b/m", offset, SUPERBLOCK_BYTES).every((byte) => byte === 0)) cleared.add(offset);
  };
  // An opening records what it found, in that very place.
  await (await openVolume(storage, config)).close();
  assert.equal([...cleared].sort(), [...places].sort());
  await expectSound(memory, config);
});

test.run();
