// What acknowledged means: modes, deadlines, doubt, barriers, the gate; on a volume whose mirror is this test.
import { BLOCK_BYTES, ENTRY_DURABLE_THROUGH, ENTRY_MIRROR_LAG } from "../../assembly/format.ts";
import { MirrorvolError } from "../../src/kernel/errors.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { FaultyStorage } from "./faults.ts";
import { content, makeVolume, openVolume, smallConfig } from "./fixture.ts";

const test = suite("volume modes");
const MIB = 1024 * 1024;

interface Outcome {
  code: string | null;
}

/** Follows a promise: null while it is under way, "" when it is fulfilled, else the error's code or name. */
function follow(work: Promise<unknown>): Outcome {
  const outcome: Outcome = { code: null };
  work.then(
    () => (outcome.code = ""),
    (error) => (outcome.code = error.code ?? error.name),
  );
  return outcome;
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Its time can be ahead of its timers. */
class SkewedClock extends ManualClock {
  skewMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.skewMs;
  }
}

async function mirrored(
  storage = new MemoryStorage(),
  clock = new ManualClock(),
): Promise<{ volume: Volume; clock: ManualClock; storage: MemoryStorage }> {
  if (storage.paths.length === 0) await makeVolume(storage);
  const volume = await openVolume(storage, smallConfig(), { hasMirror: true, writeTimeoutMs: 1000 }, clock);
  return { volume, clock, storage };
}

const required = (received: number, durable = received) => ({ required: true, received, durable });

test("sync, semi-sync and async writes are acknowledged when they have met their mode", async () => {
  const { volume } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const sync = follow(volume.write(0, content(0, 1)));
  const semi = follow(volume.write(4096, content(1, 1), { mode: "semi-sync" }));
  const async = follow(volume.write(8192, content(2, 1), { mode: "async" }));
  await turns();
  assert.equal([sync.code, semi.code, async.code], [null, null, ""]);
  assert.is(volume.acknowledged, 0);
  volume.setRemote(required(2, 0));
  await turns();
  assert.equal([sync.code, semi.code], [null, ""]);
  // What is not acknowledged is not visible; what is, is.
  assert.equal(await volume.read(0, 4096), new Uint8Array(4096));
  assert.equal(await volume.read(4096, 8192), new Uint8Array([...content(1, 1), ...content(2, 1)]));
  volume.setRemote(required(2, 1));
  await turns();
  assert.is(sync.code, "");
  assert.is(volume.acknowledged, 3);
  assert.equal(await volume.read(0, 4096), content(0, 1));
  await volume.close();
});

test("what is written while nobody waits for the mirror does not claim to be there", async () => {
  const { volume } = await mirrored();
  volume.setGate("open");
  volume.setRemote({ required: false, received: 1, durable: 1 });
  const lags: number[] = [];
  volume.onAppended = ({ view }) => {
    const header = new DataView(view.buffer, view.byteOffset, view.byteLength);
    lags.push(
      Number(header.getBigUint64(ENTRY_DURABLE_THROUGH, true)) - header.getUint32(ENTRY_MIRROR_LAG, true),
    );
  };
  for (let lba = 0; lba < 4; lba++) await volume.write(lba * 4096, content(lba, 1));
  assert.equal(lags, [0, 1, 1, 1]);
  await volume.close();
});

test("entries that become visible out of order end with the newest", async () => {
  const { volume } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const first = follow(volume.write(0, content(0, 1)));
  const second = follow(volume.write(0, content(0, 2), { mode: "async" }));
  const trim = follow(volume.trim(4096, 4096 * 50));
  const third = follow(volume.write(4096, content(1, 3), { mode: "async" }));
  await turns();
  assert.equal([first.code, second.code, trim.code, third.code], [null, "", null, ""]);
  assert.equal(await volume.read(0, 4096), content(0, 2));
  volume.setRemote(required(4));
  await turns();
  assert.equal(await volume.read(0, 8192), new Uint8Array([...content(0, 2), ...content(1, 3)]));
  const cp = follow(volume.consistencyPoint());
  await turns();
  assert.is(cp.code, null, "the seal waits for the mirror as well");
  volume.setRemote(required(5));
  await turns();
  assert.is(cp.code, "");
  assert.equal(await volume.read(0, 8192), new Uint8Array([...content(0, 2), ...content(1, 3)]));
  await volume.close();
});

test("a partial write is completed from the newest entry, whichever became visible first", async () => {
  const { volume, clock } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const late = follow(volume.write(0, new Uint8Array([...content(0, 1), ...content(1, 1)])));
  await volume.write(4096, content(1, 2), { mode: "async" });
  await clock.advance(1500);
  await turns();
  assert.is(late.code, "ERR_MIRROR_LOST");
  // The older entry is in doubt still; the newer one decides about its block.
  await volume.write(4096 + 10, new Uint8Array([7, 8, 9]), { mode: "async" });
  const expected = content(1, 2);
  expected.set([7, 8, 9], 10);
  assert.equal(await volume.read(4096, 4096), expected);
  const doubtful = follow(volume.read(0, 8192));
  await turns();
  assert.is(doubtful.code, "ERR_IN_DOUBT");
  volume.setRemote(required(3));
  await turns();
  assert.equal(await volume.read(0, 8192), new Uint8Array([...content(0, 1), ...expected]));
  await volume.close();
});

test("a write that times out is in doubt: its blocks are not readable until it is confirmed", async () => {
  const { volume, clock } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const late = follow(volume.write(8192, content(2, 1)));
  await turns();
  await clock.advance(1500);
  await turns();
  assert.is(late.code, "ERR_MIRROR_LOST");
  assert.is(follow(volume.read(0, 8192)).code, null);
  for (const [offset, length] of [
    [8192, 4096],
    [0, 16384],
    [8192 + 17, 3],
  ] as const) {
    const read = follow(volume.read(offset, length));
    await turns();
    assert.is(read.code, "ERR_IN_DOUBT");
  }
  assert.equal(await volume.read(12288, 4096), new Uint8Array(4096));
  volume.setRemote(required(1));
  await turns();
  assert.equal(await volume.read(8192, 4096), content(2, 1));
  assert.is(late.code, "ERR_MIRROR_LOST", "its client has been told once");
  await volume.close();
});

test("a write in pieces fails as one, also when a piece fails while a later one waits for room", async () => {
  const clock = new SkewedClock();
  const { volume } = await mirrored(new MemoryStorage(), clock);
  volume.setGate("open");
  volume.setRemote(required(0));
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    // More than all halves of the log hold together.
    // Each piece takes a while, so the one that waits for room began later than those before it.
    volume.onAppended = () => void (clock.skewMs += 2);
    const write = follow(volume.write(0, new Uint8Array(volume.bytes).fill(1)));
    await turns();
    volume.onAppended = null;
    clock.skewMs = 0;
    for (let step = 0; step < 30; step++) {
      await clock.advance(step === 0 ? 999 : 1);
      await turns();
    }
    assert.equal(unhandled, []);
    assert.is(write.code, "ERR_MIRROR_LOST");
  } finally {
    process.off("unhandledRejection", note);
  }
  await volume.close();
  await turns();
  assert.equal(unhandled, []);
});

test("a write in pieces is not told that a piece failed before the others are acknowledged or in doubt", async () => {
  const { volume, clock } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const write = follow(volume.write(0, new Uint8Array(volume.bytes).fill(1)));
  await turns();
  // The piece that waits for room is refused; those that are logged may still become visible.
  volume.setGate({ refused: new MirrorvolError("ERR_DIVERGED", "so") });
  await turns();
  assert.is(write.code, null);
  volume.setGate("open");
  await clock.advance(1500);
  await turns();
  assert.is(write.code, "ERR_DIVERGED");
  const read = follow(volume.read(0, 4096));
  await turns();
  assert.is(read.code, "ERR_IN_DOUBT");
  await volume.close();
});

test("a write that finds the gate closed or the log full is told so after as long as any write", async () => {
  const { volume, clock } = await mirrored();
  volume.setRemote(required(0));
  const early = follow(volume.write(0, content(0, 1)));
  const trim = follow(volume.trim(0, 4096));
  await clock.advance(900);
  await turns();
  assert.equal([early.code, trim.code], [null, null]);
  await clock.advance(200);
  await turns();
  assert.equal([early.code, trim.code], ["ERR_MIRROR_LOST", "ERR_MIRROR_LOST"]);
  volume.setGate("open");
  assert.is(volume.position.sequence, 0, "nothing was appended");
  // As many as all halves hold, and one more.
  const half = new Uint8Array(1024 * 1024);
  const writes = Array.from({ length: 5 }, () => follow(volume.write(0, half, { mode: "async" })));
  await turns();
  const codes = () => writes.map(({ code }) => code);
  const waiting = codes().flatMap((code, index) => (code === null ? [index] : []));
  assert.ok(waiting.length > 0 && waiting.length < writes.length, `${waiting.length} wait`);
  const { sequence } = volume.position;
  await clock.advance(1100);
  await turns();
  for (const [index, code] of codes().entries()) {
    assert.is(code, waiting.includes(index) ? "ERR_MIRROR_LOST" : "");
  }
  assert.is(volume.position.sequence, sequence);
  await volume.close();
});

test("an aborted write is in doubt in the same way; an abort after the end changes nothing", async () => {
  const { volume } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const abort = new AbortController();
  const write = follow(volume.write(0, content(0, 1), { signal: abort.signal }));
  await turns();
  abort.abort();
  await turns();
  assert.is(write.code, new DOMException("", "AbortError").code);
  const read = follow(volume.read(0, 10));
  await turns();
  assert.is(read.code, "ERR_IN_DOUBT");
  volume.setRemote(required(1));
  await turns();
  const later = new AbortController();
  await volume.write(4096, content(1, 1), { signal: later.signal, mode: "async" });
  later.abort();
  await turns();
  assert.equal(await volume.read(0, 8192), new Uint8Array([...content(0, 1), ...content(1, 1)]));
  assert.is(follow(volume.write(0, content(0, 2), { signal: later.signal })).code, null);
  await turns();
  assert.is(volume.position.sequence, 2, "an aborted signal appends nothing");
  await volume.close();
});

test("a flush is a barrier: it waits for what was written before it, and for no longer than a write", async () => {
  const { volume, clock } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  await volume.flush();
  const write = follow(volume.write(0, content(0, 1)));
  await turns();
  const flush = follow(volume.flush());
  const abort = new AbortController();
  const aborted = follow(volume.flush({ signal: abort.signal }));
  abort.abort();
  await turns();
  assert.equal([write.code, flush.code], [null, null]);
  assert.ok(aborted.code !== null && aborted.code !== "");
  volume.setRemote(required(1));
  await turns();
  assert.equal([write.code, flush.code], ["", ""]);
  const lost = follow(volume.write(0, content(0, 2)));
  await clock.advance(1500);
  await turns();
  assert.is(lost.code, "ERR_MIRROR_LOST");
  // Also a flush that comes when the write has been given up.
  const after = follow(volume.flush());
  await turns();
  assert.is(after.code, null);
  await clock.advance(1500);
  await turns();
  assert.is(after.code, "ERR_MIRROR_LOST");
  volume.setRemote(required(2));
  await turns();
  await volume.flush();
  await volume.close();
});

test("partial writes complete the newest entry, pending ones and those in doubt included", async () => {
  const { volume, clock } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const expected = content(0, 1);
  const all = [follow(volume.write(0, content(0, 1)))];
  await turns();
  for (let i = 0; i < 5; i++) {
    all.push(follow(volume.write(100 * i + 7, new Uint8Array(50).fill(i + 1))));
    expected.fill(i + 1, 100 * i + 7, 100 * i + 57);
    await turns();
  }
  await clock.advance(1500);
  assert.ok(all.every(({ code }) => code === "ERR_MIRROR_LOST"));
  const more = follow(volume.write(4000, new Uint8Array(20).fill(9)));
  expected.fill(9, 4000, 4020);
  await turns();
  volume.setRemote(required(7));
  await turns();
  assert.is(more.code, "");
  assert.equal(await volume.read(0, 4096), expected);
  await volume.close();
});

test("partial writes over entries that were replayed and wait for the mirror", async () => {
  const first = await mirrored();
  first.volume.setGate("open");
  first.volume.setRemote({ required: false, received: 0, durable: 0 });
  await first.volume.write(0, content(0, 1));
  await first.volume.write(4096, content(1, 1));
  await first.volume.trim(4096, 4096);
  await first.volume.close();
  const { volume } = await mirrored(first.storage);
  assert.is(volume.position.sequence, 3);
  assert.is(volume.acknowledged, 0);
  volume.setGate("open");
  const part = follow(volume.write(10, new Uint8Array(5).fill(7)));
  const other = follow(volume.write(4096 + 10, new Uint8Array(5).fill(7)));
  await turns();
  volume.setRemote(required(5));
  await turns();
  assert.equal([part.code, other.code], ["", ""]);
  const expected = new Uint8Array(8192);
  expected.set(content(0, 1));
  expected.fill(7, 10, 15).fill(7, 4106, 4111);
  assert.equal(await volume.read(0, 8192), expected);
  await volume.close();
});

test("a closed gate holds clients, a refusing one fails them", async () => {
  const { volume } = await mirrored();
  const outcomes = [
    follow(volume.read(0, 10)),
    follow(volume.write(0, content(0, 1), { mode: "async" })),
    follow(volume.flush()),
    follow(volume.trim(0, BLOCK_BYTES, { mode: "async" })),
  ];
  const abort = new AbortController();
  const aborted = follow(volume.read(0, 10, { signal: abort.signal }));
  await turns();
  assert.ok(outcomes.every(({ code }) => code === null));
  assert.is(volume.position.sequence, 0);
  assert.is(volume.status().state, "waiting");
  abort.abort();
  await turns();
  assert.ok(aborted.code !== null && aborted.code !== "");
  volume.setGate("open");
  await turns();
  assert.ok(
    outcomes.every(({ code }) => code === ""),
    outcomes.map(({ code }) => code).join(),
  );
  volume.setGate({ refused: new MirrorvolError("ERR_FENCED", "fenced") });
  const refused = [
    follow(volume.read(0, 10)),
    follow(volume.write(0, content(0, 1))),
    follow(volume.flush()),
  ];
  await turns();
  assert.ok(refused.every(({ code }) => code === "ERR_FENCED"));
  assert.is(volume.status().state, "refused");
  await volume.close();
  const closed = follow(volume.read(0, 1));
  await turns();
  assert.is(closed.code, "ERR_CLOSED");
});

test("closing ends every wait", async () => {
  const { volume } = await mirrored();
  volume.setGate("open");
  volume.setRemote(required(0));
  const waits = [follow(volume.write(0, content(0, 1)))];
  await turns();
  waits.push(follow(volume.consistencyPoint()));
  await turns();
  waits.push(follow(volume.flush()));
  await turns();
  await volume.close();
  await turns();
  assert.ok(
    waits.every(({ code }) => code === "ERR_CLOSED"),
    waits.map(({ code }) => code).join(),
  );
});

test("a partial write whose block has to be read again and again does not wait for ever", async () => {
  const config = smallConfig({ memberBytes: 12 * 1024 * 1024, ringBytes: 8 * 1024 * 1024 });
  const memory = new MemoryStorage();
  await makeVolume(memory, config);
  const clock = new ManualClock();
  const storage = new FaultyStorage(memory);
  storage.gate = ({ kind }) =>
    kind === "sync" ? new Promise((resolve) => setImmediate(resolve)) : undefined;
  const volume = await openVolume(storage, config, { writeTimeoutMs: 3000 }, clock);
  let cps = 0;
  volume.addEventListener("consistencypoint", () => {
    cps += 1;
    void clock.advance(100);
  });
  let isOver = false;
  // Whoever writes whole blocks takes all room there is, and every CP moves the image.
  const writers = Array.from({ length: 6 }, async (_, place) => {
    const data = new Uint8Array(MIB);
    for (let round = 0; !isOver; round++) {
      data[0] = round;
      await volume.write((place % 3) * MIB, data).catch(() => {});
    }
  });
  while (cps < 5) await new Promise((resolve) => setImmediate(resolve));
  const small = follow(volume.write(900 * 4096 + 10, new Uint8Array(100)));
  const last = cps + 60;
  while (small.code === null && cps < last) await new Promise((resolve) => setImmediate(resolve));
  const { code } = small;
  isOver = true;
  await Promise.all(writers);
  assert.ok(code === "" || code === "ERR_TIMEOUT", `${code} after ${cps} consistency points`);
  await volume.close();
});

test.run();
