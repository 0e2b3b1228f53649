// Sending CP data: in order, with what must result, and what follows from the mirror's answer.

import { CpMemory } from "../../src/replication/cp_memory.ts";
import { CpSender, type Due } from "../../src/replication/cp_sender.ts";
import type { Link } from "../../src/replication/link.ts";
import type { ReplicatedVolume } from "../../src/replication/port.ts";
import { assert, suite } from "../support/harness.ts";

const test = suite("cp sender");
const rootOf = (cp: number) => new Uint8Array(16).fill(cp);

interface Sent {
  readonly name: string;
  readonly cp: number;
  readonly root: Uint8Array | null | undefined;
}

/** A source that has made its consistency points up to `cp`, and keeps the data of none. */
function sender(cp: number, due: readonly Due[]) {
  const sent: Sent[] = [];
  const retained: number[] = [];
  const link = {
    send: (name: string, body: { cp: number; root?: Uint8Array }) =>
      sent.push({ name, cp: body.cp, root: body.root }),
  } as unknown as Link;
  const volume = {
    cp,
    rootHash: rootOf(cp),
    cpData: () => null,
    setLogRetention: (sequence: number) => retained.push(sequence),
  };
  const memory = new CpMemory();
  for (let each = 1; each <= cp; each++) memory.setRoot(each, rootOf(each));
  const parts = { volume: volume as unknown as ReplicatedVolume, link, memory };
  const cps = new CpSender({ ...parts, due, ahead: [] });
  return { cps, sent, retained, volume, memory };
}

const ack = (cp: number, root = rootOf(cp)) => ({ cp, outcome: "committed" as const, root, text: "" });

test("a consistency point that the mirror committed with another root hash is to be repaired", () => {
  const { cps, sent, retained } = sender(1, [{ cp: 1, sequence: 5 }]);
  cps.step();
  assert.equal(sent, [{ name: "cpOwn", cp: 1, root: rootOf(1) }]);
  assert.is(cps.onAck(ack(1, rootOf(9))).kind, "repair");
  assert.equal(retained, [], "nothing is let go");
});

test("what the mirror could not make, or made out of turn, is no agreement", () => {
  const { cps } = sender(2, [
    { cp: 1, sequence: 5 },
    { cp: 2, sequence: 9 },
  ]);
  cps.step();
  assert.throws(() => cps.onAck(ack(2)), /awaited is 1/);
  const verdict = cps.onAck({ ...ack(2), outcome: "failed", text: "no room" });
  assert.equal(verdict, { kind: "repair", cp: 2, reason: "failed: no room" });
});

test("the log up to a seal is let go when both sides have its consistency point, and not before", () => {
  const { cps, sent, retained, volume, memory } = sender(0, [{ cp: 1, sequence: 5 }]);
  cps.step();
  assert.equal(sent, [], "it has not begun here");
  memory.begun = 1;
  memory.setRoot(1, rootOf(1));
  cps.step();
  assert.is(sent.at(-1)!.name, "cpOwn");
  assert.ok(cps.isOwed);
  assert.equal(cps.onAck(ack(1)), { kind: "done", cp: 1, sequence: 5 });
  assert.equal(retained, [], "the mirror has it, this side has not");
  volume.cp = 1;
  cps.committed();
  assert.equal(retained, [5]);
  assert.equal(sent.at(-1), { name: "cpCommitted", cp: 1, root: undefined });
  assert.not.ok(cps.isOwed);
});

test.run();
