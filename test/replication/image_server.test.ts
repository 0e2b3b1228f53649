// Answering a mirror's questions: as many at once as are agreed, and no more.

import { ImageServer } from "../../src/replication/image_server.ts";
import type { Link } from "../../src/replication/link.ts";
import type { ReplicatedVolume } from "../../src/replication/port.ts";
import { UnderWay } from "../../src/volume/under_way.ts";
import { assert, suite } from "../support/harness.ts";
import { settle } from "../support/manual_clock.ts";

const test = suite("image server");
const REQUESTS_MAX = 16;

function server() {
  const answers: (() => void)[] = [];
  const sent: string[] = [];
  let released = 0;
  const wait = () =>
    new Promise<Uint8Array[]>((resolve) => answers.push(() => resolve([new Uint8Array(16)])));
  const image = { cp: 3, blocks: wait, children: wait, release: () => (released += 1) };
  const volume = { cp: 3, pinImage: async () => image } as unknown as ReplicatedVolume;
  const link = { send: (name: string, { fault }: { fault: string }) => sent.push(name + fault) };
  const underWay = new UnderWay();
  const images = new ImageServer(volume, link as unknown as Link, underWay);
  return { images, underWay, answers, sent, released: () => released };
}

test("sixteen questions are worked on at once; one more breaks the protocol", async () => {
  const { images, answers, sent } = server();
  await images.beginRound();
  const ask = [
    (request: number) => images.onBlocksRequest({ request, cp: 3, lbas: [1] }),
    (request: number) => images.onChildrenRequest({ request, level: 0, indexes: [0] }),
  ];
  for (let request = 0; request < REQUESTS_MAX; request++) ask[request % 2]!(request);
  for (const each of ask) assert.throws(() => each(99), /too many requests/);
  assert.is(answers.length, REQUESTS_MAX);
  answers[0]!();
  await settle();
  assert.equal(sent, ["blocks"]);
  ask[0]!(100);
  assert.throws(() => ask[1]!(101), /too many requests/);
});

test("sixteen questions about a consistency point that is being made wait for it", async () => {
  const { images, answers, sent } = server();
  const ask = (request: number, cp: number) => images.onBlocksRequest({ request, cp, lbas: [1] });
  for (let request = 0; request < REQUESTS_MAX; request++) ask(request, 4);
  assert.throws(() => ask(99, 4), /too many requests/);
  ask(100, 3);
  assert.equal(sent, ["blocksimage 3 is not kept"]);
  assert.is(answers.length, 0);
});

test("an image is let go when the mirror has acknowledged it, or at the end", async () => {
  const { images, released } = server();
  await images.pin();
  images.acknowledged(2);
  assert.is(released(), 0);
  images.acknowledged(3);
  assert.is(released(), 1);
  await images.pin();
  images.close();
  assert.is(released(), 2);
});

test("answers that are being read are waited for, also when nobody wants them any more", async () => {
  const { images, answers, underWay } = server();
  await images.beginRound();
  images.onBlocksRequest({ request: 1, cp: 3, lbas: [1] });
  images.close();
  let isEnded = false;
  const ended = underWay.ended().then(() => {
    isEnded = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.not.ok(isEnded);
  answers[0]!();
  await ended;
});

test.run();
