import { CatchUp } from "../../src/replication/catch_up.ts";
import { compareHistories } from "../../src/replication/history.ts";
import { Requests } from "../../src/replication/requests.ts";
import { RingHold } from "../../src/replication/ring_hold.ts";
import { Watch } from "../../src/replication/watch.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";

const test = suite("small parts");

test("catching up: waits for the mirror when it is near, asks it once when it is there", () => {
  const catchUp = new CatchUp();
  catchUp.begin(null);
  const next = (tail: number, mirrorDurable: number, isLive = true, isLogFull = false) =>
    catchUp.next({ tail, mirrorDurable, isLive, isLogFull });
  assert.is(next(1000, 100), "nothing", "far behind");
  assert.is(next(1000, 990, false), "nothing", "not live");
  assert.is(next(1000, 990), "wait for it");
  assert.is(next(1010, 999), "nothing", "not there yet");
  assert.is(next(1010, 1000), "ask it");
  assert.is(next(1010, 1010), "nothing", "asked before");
  assert.ok(catchUp.isAnswer(1000));
  assert.not.ok(catchUp.isAnswer(999));
  catchUp.begin(5);
  assert.not.ok(catchUp.isAnswer(5), "not asked yet");
  assert.is(next(9, 5, false), "ask it");
  catchUp.begin(null);
  assert.is(next(1000, 100, false, true), "wait for it", "writes are held up as it is");
  assert.is(next(1000, 1000), "ask it");
});

test("a watch fires after a time without progress, again after the next, and never when nothing waits", async () => {
  const clock = new ManualClock();
  let fired = 0;
  let isWaiting = true;
  const onExpired = () => {
    fired += 1;
  };
  const watch = new Watch({ clock, timeoutMs: 100, isWaiting: () => isWaiting, onExpired });
  watch.start();
  await clock.advance(90);
  watch.progress();
  await clock.advance(90);
  assert.is(fired, 0);
  await clock.advance(20);
  assert.is(fired, 1);
  await clock.advance(100);
  assert.is(fired, 2);
  isWaiting = false;
  await clock.advance(1000);
  assert.is(fired, 2);
  watch.stop();
  assert.is(clock.timerCount, 0);
});

test("requests: so many at once, answers by number, all rejected at the end", async () => {
  const requests = new Requests<string>(2);
  const sent: number[] = [];
  const asked = [1, 2, 3].map(() => requests.ask((request) => sent.push(request)));
  const failures = asked.map((each) => each.catch((error: { code: string }) => error.code));
  await settle();
  assert.equal(sent, [0, 1]);
  requests.answer(1, "b");
  await settle();
  assert.equal(sent, [0, 1, 2]);
  assert.is(await asked[1], "b");
  requests.fail(0, "no");
  assert.is(await failures[0], "ERR_REMOTE");
  assert.throws(() => requests.answer(0, "again"), /was not made/);
  requests.close("gone");
  assert.is(await failures[2], "ERR_LINK_CLOSED");
  assert.is(await requests.ask(() => {}).catch((error: { code: string }) => error.code), "ERR_LINK_CLOSED");
});

test("the ring keeps what any connection may still look at, the closed one's too", () => {
  const told: number[] = [];
  const ring = new RingHold({ setForwarded: (sequence) => told.push(sequence) });
  const [older, newer] = [{}, {}];
  ring.keepAfter(older, 5);
  ring.keepAfter(newer, 9);
  ring.keepAfter(newer, 12);
  ring.keepAfter(older, 7);
  ring.letGo(older);
  ring.letGo(older);
  ring.letGo(newer);
  assert.equal(told, [5, 5, 5, 7, 12, Number.POSITIVE_INFINITY]);
});

test("comparing histories is symmetric", () => {
  const a = [{ number: 1, id: 1n, startSequence: 0, startChain: 0n }];
  const b = [...a, { number: 2, id: 2n, startSequence: 5, startChain: 7n }];
  assert.is(compareHistories(a, b).kind, "older");
  assert.is(compareHistories(b, a).kind, "newer");
});

test.run();
