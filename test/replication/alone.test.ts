// What a source must not do without its mirror, although it may go on alone.

import { BLOCK_BYTES, LOG_ENTRIES_OFFSET } from "../../assembly/format.ts";
import type { Gate, Relationship, ReplicatedVolume } from "../../src/replication/port.ts";
import { Standing } from "../../src/replication/standing.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { copyOf, eio, FaultyStorage } from "../volume/faults.ts";
import { content, makeVolume, makeWorld, openVolume, smallConfig } from "../volume/fixture.ts";
import { Pair, sourcePutBack, TIMEOUT_MS } from "./pair.ts";

const test = suite("alone");
const CONTINUE = { target: { onMirrorLoss: "continue" } } as const;
/** An entry of one block, with its padding. */
const ENTRY_BYTES = 4608;

test("what was durable and is lost here may be on the mirror: nothing is served without it", async () => {
  const pair = await Pair.inSync(CONTINUE);
  for (let lba = 0; lba < 6; lba++) await pair.write(lba, 1);
  await pair.closeSource();
  const { storage } = pair.source;
  // Somewhere in the payload of the third entry, in both copies.
  for (const path of storage.paths.filter((each) => each.startsWith("log"))) {
    storage.poke(path, LOG_ENTRIES_OFFSET + 2 * ENTRY_BYTES + 1000, new Uint8Array([1, 2, 3, 4]));
  }
  pair.network.isDown = true;
  await pair.openSource();
  let isServed = false;
  const read = pair.source.volume.read(0, BLOCK_BYTES).finally(() => {
    isServed = true;
  });
  await pair.clock.advance(20 * TIMEOUT_MS);
  assert.not.ok(isServed, "served without what is lost");
  assert.is(pair.source.volume.generation.number, 1, "no new generation goes on without it");
  pair.network.isDown = false;
  await pair.waitFor("the read", read);
  for (let lba = 0; lba < 6; lba++) await pair.expect(pair.source.volume, lba, 1);
  await pair.untilInSync();
  await pair.close();
});

test("what the mirror knows was acknowledged and is missing here keeps the source from going on alone", async () => {
  const pair = await sourcePutBack(CONTINUE);
  pair.network.isDown = true;
  await pair.clock.advance(20 * TIMEOUT_MS);
  assert.is(await codeOf(pair.source.volume.read(0, BLOCK_BYTES)), "ERR_SOURCE_LOST_ENTRIES");
  assert.is(pair.source.volume.generation.number, 1);
  await pair.close();
});

test("a volume that is demoted while it is recorded that it goes on alone is not opened", async () => {
  const gates: Gate[] = [];
  let persisted = { role: "source", aloneSince: null, history: [] } as unknown as Relationship;
  const volume = {
    name: "orders",
    log: { tail: { sequence: 5, chain: 0n } },
    get persisted() {
      return persisted;
    },
    persist: async (changes: Partial<Relationship>) => {
      // Whoever demotes it was first in the line.
      persisted = { ...persisted, ...changes, role: "mirror" };
    },
    setGate: (gate: Gate) => gates.push(gate),
    setRemote: () => {},
  } as unknown as ReplicatedVolume;
  const standing = new Standing({} as never, volume);
  await standing.goAlone();
  assert.equal(gates, ["waiting"]);
  assert.not.ok(standing.isOpen);
});

test("what a source got back from its mirror is visible before anybody reads alone", async () => {
  const memory = new MemoryStorage();
  await makeVolume(memory);
  let volume = await openVolume(memory);
  await volume.write(0, content(0, 1));
  await volume.consistencyPoint();
  await volume.close();
  // The source loses the next entry in a crash; its mirror has it, and a client has read it.
  const before = await copyOf(memory);
  volume = await openVolume(memory);
  await volume.write(0, content(0, 2));
  const lost: Uint8Array[] = [];
  for await (const { bytes } of volume.log.entries(volume.durable)) lost.push(bytes.slice());
  await volume.close();
  const storage = new FaultyStorage(before);
  volume = await openVolume(storage, smallConfig(), { hasMirror: true });
  const standing = new Standing(makeWorld(storage, 3), volume);
  for (const bytes of lost) volume.adopt(bytes);
  await volume.log.whenDurable(volume.log.tail.sequence);
  // The mirror is gone again, and a member fails just as that is recorded.
  storage.judge = (call) => (call.kind === "write" && call.path === "b/m" ? eio(call) : null);
  const read = volume.read(0, BLOCK_BYTES);
  await standing.branch();
  assert.equal(await read, content(0, 2));
  await volume.close();
});

test.run();
