// PostgreSQL commits a transaction locally first and waits for the synchronous standby then. A client that
// cancels the wait gets a warning ("The transaction has already committed locally, but might not have been
// replicated to the standby"), and the commit is visible to everybody at once. If the primary is lost now,
// the standby goes on without what others have read already. The same happens to all that waited when the
// primary restarts.
//
// Ours: giving up the wait (abort, deadline) changes nothing but who waits. The write is in doubt: nobody
// reads its blocks until the mirror has it, also after a restart; then it becomes visible on both sides.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Pair, type PairOptions } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { content } from "../volume/fixture.ts";
import { isPending, loseSource } from "./support.ts";

const test = suite("museum: a wait for the mirror that was cancelled");
const LBA = 5;
const read = (pair: Pair) => pair.source.volume.read(LBA * BLOCK_BYTES, BLOCK_BYTES);

/** The mirror hears nothing any more; a client writes, and gives up while it waits for the mirror. */
async function cancelled(how: "abort" | "deadline"): Promise<Pair> {
  const options: PairOptions = how === "deadline" ? { writeTimeoutMs: 500 } : {};
  const pair = await Pair.inSync(options);
  await pair.write(LBA, 1);
  pair.network.isDown = true;
  pair.cut();
  const controller = new AbortController();
  const { volume } = pair.source;
  const before = volume.durable;
  const write = volume.write(LBA * BLOCK_BYTES, content(LBA, 2), { signal: controller.signal });
  const code = codeOf(write);
  await pair.until("durable here", () => volume.durable > before);
  if (how === "abort") controller.abort(Object.assign(new Error("cancelled"), { code: "CANCELLED" }));
  else await pair.clock.advance(600);
  assert.is(await code, how === "abort" ? "CANCELLED" : "ERR_MIRROR_LOST");
  return pair;
}

for (const how of ["abort", "deadline"] as const) {
  test(`${how}: nobody reads what the mirror lacks, so the failover takes back nothing`, async () => {
    const pair = await cancelled(how);
    assert.is(await codeOf(read(pair)), "ERR_IN_DOUBT");
    await loseSource(pair);
    await pair.waitFor("promotion", pair.service.promote("orders"));
    await pair.expect(pair.mirror.volume, LBA, 1);
    await pair.closeMirror();
  });

  test(`${how}: a restart of the source does not make it visible either`, async () => {
    const pair = await cancelled(how);
    await pair.closeSource();
    await pair.openSource();
    const waiting = read(pair);
    await pair.clock.advance(10_000);
    assert.ok(await isPending(waiting));
    // Without the source nobody has seen it.
    await pair.closeSource();
    assert.is(await codeOf(waiting), "ERR_CLOSED");
    await pair.until("the mirror knows", () => !pair.service.connected("orders"));
    await pair.waitFor("promotion", pair.service.promote("orders"));
    await pair.expect(pair.mirror.volume, LBA, 1);
    await pair.closeMirror();
  });

  test(`${how}: when the mirror is back it becomes visible, and survives the source`, async () => {
    const pair = await cancelled(how);
    pair.network.isDown = false;
    await pair.untilInSync();
    await pair.expect(pair.source.volume, LBA, 2);
    await loseSource(pair);
    await pair.waitFor("promotion", pair.service.promote("orders"));
    await pair.expect(pair.mirror.volume, LBA, 2);
    await pair.closeMirror();
  });
}

test("another client's later write over the same block is no way round it", async () => {
  const pair = await cancelled("abort");
  // It completes a partial block from what is in doubt, so it must not be readable before that is either.
  const later = pair.source.volume.write(LBA * BLOCK_BYTES + 100, new Uint8Array([1, 2, 3]));
  later.catch(() => {});
  assert.ok(await isPending(later));
  assert.is(await codeOf(read(pair)), "ERR_IN_DOUBT");
  assert.ok(await isPending(pair.source.volume.flush()), "nor is a flush told that it is durable");
  await loseSource(pair);
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.expect(pair.mirror.volume, LBA, 1);
  await pair.closeMirror();
});

test.run();
