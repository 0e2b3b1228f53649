// Taking entries into a log that has no room for them just now.

import { BLOCK_BYTES, ENTRY_KIND_WRITE } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { EntryTaker } from "../../src/replication/entry_taker.ts";
import type { Link } from "../../src/replication/link.ts";
import type { ReplicatedVolume } from "../../src/replication/port.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content, makeVolume, openVolume } from "../volume/fixture.ts";

const test = suite("entry taker");

/** Three entries as they come in one message. */
async function threeEntries(): Promise<Uint8Array> {
  const storage = new MemoryStorage();
  await makeVolume(storage);
  const volume = await openVolume(storage);
  const entries = [1, 2, 3].map((lba) => volume.log.append(ENTRY_KIND_WRITE, lba, 1, [content(lba, 1)])!);
  const views = entries.map(({ view }) => view.slice());
  await volume.close();
  assert.ok(views[0]!.length > BLOCK_BYTES);
  return Uint8Array.from(views.flatMap((view) => [...view]));
}

test("an entry is never dropped: the link is held, and the entry is offered again when there is room", async () => {
  const bytes = await threeEntries();
  const calls: string[] = [];
  const link = { hold: () => calls.push("hold"), proceed: () => calls.push("proceed") } as unknown as Link;
  const halves = [{ free: false }, { free: true }];
  let room = 1;
  const taken: Uint8Array[] = [];
  const volume = {
    adopt: (entry: Uint8Array) => {
      if (room === 0) return null;
      room -= 1;
      taken.push(entry.slice());
      return {};
    },
    log: { status: () => halves },
  } as unknown as ReplicatedVolume;
  const kernel = Kernel.createSync({ memoryBytes: 2 ** 21 });
  const taker = new EntryTaker({ volume, kernel, link, onExhausted: () => calls.push("exhausted") });
  taker.take(bytes);
  assert.is(taken.length, 1);
  assert.equal(calls, ["hold"], "a half is about to be free: that is no exhaustion");
  halves[1] = { free: false };
  room = 1;
  taker.retrySoon();
  await settle();
  assert.is(taken.length, 2);
  assert.equal(calls, ["hold", "hold", "exhausted"]);
  room = 9;
  taker.retrySoon();
  await settle();
  assert.equal(calls, ["hold", "hold", "exhausted", "proceed"]);
  assert.equal(Uint8Array.from(taken.flatMap((entry) => [...entry])), bytes);
  taker.close();
});

test.run();
