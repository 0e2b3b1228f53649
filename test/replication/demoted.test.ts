// A source with a mirror that learns, while it runs, that the mirror was promoted: it is told by a connection to its
// own mirror service, as on two nodes that name each other.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { content } from "../volume/fixture.ts";
import { Pair, TIMEOUT_MS } from "./pair.ts";

const test = suite("demoted while it runs");

/** The old source runs and waits for a mirror that it cannot reach; that one has been promoted. */
async function waiting(): Promise<Pair> {
  const pair = await Pair.inSync();
  for (let lba = 0; lba < 5; lba++) await pair.write(lba, 1);
  pair.options = { target: { url: "ws://nobody:1" } };
  await pair.closeSource();
  await pair.openSource();
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  return pair;
}

async function connectBack(pair: Pair): Promise<SourceRelationship> {
  const world = pair.world(pair.source.storage);
  const kernel = Kernel.createSync({ memoryBytes: 4 * 1024 * 1024 });
  const { source, mirror } = pair;
  const volumes = { find: () => source.volume };
  const service = new MirrorService({ world, kernel, volumes, secret: null });
  await world.transport.listen("old:1", (connection) => service.accept(connection));
  const target = {
    url: "ws://old:1",
    mode: "sync",
    onMirrorLoss: "stop",
    mirrorTimeoutMs: TIMEOUT_MS,
  } as const;
  const relationship = new SourceRelationship({ world, ...mirror, target, secret: null });
  relationship.start();
  return relationship;
}

test("it follows the promoted one, consistency points and all", async () => {
  const pair = await waiting();
  const { volume } = pair.mirror;
  const back = await connectBack(pair);
  await pair.until("in sync the other way", () => back.status().state === "in sync");
  for (let round = 0; round < 6; round++) {
    await pair.waitFor("a write", volume.write(round * BLOCK_BYTES, content(round, 7)));
    await pair.waitFor("a consistency point", volume.consistencyPoint());
    await pair.untilEqual();
  }
  await back.close();
  await pair.close();
});

test("whoever waited there hears that it is fenced; what they wrote is not acknowledged", async () => {
  const pair = await Pair.inSync();
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  const { volume } = pair.source;
  const write = codeOf(volume.write(BLOCK_BYTES, content(1, 2)));
  await pair.until("in the log", () => volume.durable === 2);
  const flush = codeOf(volume.flush());
  const point = codeOf(volume.consistencyPoint());
  await pair.until("disconnected", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  pair.network.isDown = false;
  const codes = await pair.waitFor("answers", Promise.all([write, flush, point]));
  assert.equal(codes, ["ERR_FENCED", "ERR_FENCED", "ERR_FENCED"]);
  assert.is(await codeOf(volume.read(BLOCK_BYTES, BLOCK_BYTES)), "ERR_FENCED");
  await pair.close();
});

test.run();
