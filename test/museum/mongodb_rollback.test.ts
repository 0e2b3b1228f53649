// MongoDB, as Jepsen found it in 2013 (2.4.3): a primary that is cut off goes on acknowledging for a while,
// the others elect a new one, and when the old one comes back it rolls back what it had acknowledged.
// Writes with a weaker concern than majority are lost in this way by design.
//
// Ours: whoever acknowledges without the mirror says so (the mode `async`, or alone since a position). What a
// returning source has and the promoted one lacks is never overwritten: it does not become the mirror of the
// promoted one, and its entries stay in its log.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume } from "../../src/volume/volume.ts";
import { Pair, type PairOptions } from "../replication/pair.ts";
import { codeOf } from "../support/code_of.ts";
import { assert, suite } from "../support/harness.ts";
import { pooledKernel } from "../support/kernel_pool.ts";
import { content } from "../volume/fixture.ts";

const test = suite("museum: acknowledged writes that are rolled back");

/** The old source has acknowledged entry 2 when it is lost, the promoted mirror never got it. */
async function acknowledgedAlone(options: PairOptions, mode: "async" | "sync"): Promise<Pair> {
  const pair = await Pair.inSync(options);
  await pair.write(1, 1);
  pair.network.isDown = true;
  pair.cut();
  const write = pair.source.volume.write(BLOCK_BYTES, content(1, 2), { mode });
  await pair.waitFor("the write", write);
  await pair.crashSource("drop");
  await pair.until("the mirror knows", () => !pair.service.connected("orders"));
  await pair.waitFor("promotion", pair.service.promote("orders"));
  await pair.expect(pair.mirror.volume, 1, 1);
  await pair.waitFor("a write", pair.mirror.volume.write(2 * BLOCK_BYTES, content(2, 3)));
  pair.network.isDown = false;
  return pair;
}

/** The old source is offered to the promoted mirror as its mirror. */
async function offerAsMirror(pair: Pair): Promise<SourceRelationship> {
  const { source, mirror } = pair;
  const world = pair.world(source.storage);
  source.kernel = pooledKernel(24 * 1024 * 1024);
  source.volume = await Volume.open(world, source.kernel, pair.sourceConfig);
  const find = () => source.volume;
  const service = new MirrorService({ world, kernel: source.kernel, volumes: { find }, secret: null });
  await world.transport.listen("old:1", (connection) => service.accept(connection));
  const target = { url: "ws://old:1", mode: "sync", onMirrorLoss: "stop" } as const;
  const { kernel, volume } = mirror;
  const relationship = new SourceRelationship({ world, kernel, volume, target, secret: null });
  relationship.start();
  return relationship;
}

const CASES: { name: string; options: PairOptions; mode: "async" | "sync" }[] = [
  { name: "in the mode async", options: {}, mode: "async" },
  {
    name: "alone since the mirror was lost",
    options: { target: { onMirrorLoss: "continue" } },
    mode: "sync",
  },
];

for (const { name, options, mode } of CASES) {
  test(`${name}: the old source comes back as a source, and is fenced with all that it has`, async () => {
    const pair = await acknowledgedAlone(options, mode);
    await pair.openSource();
    await pair.until("fenced", () => /fenced|diverged/.test(pair.relationship.status().detail));
    const { volume } = pair.source;
    assert.match(await codeOf(volume.write(0, content(0, 9))), /ERR_FENCED|ERR_DIVERGED/);
    assert.is(volume.position.sequence, 2);
    await pair.close();
  });

  test(`${name}: the old source is not made the mirror of the promoted one`, async () => {
    const pair = await acknowledgedAlone(options, mode);
    const relationship = await offerAsMirror(pair);
    await pair.until("diverged", () => relationship.status().state === "diverged");
    await pair.clock.advance(10_000);
    assert.is(relationship.status().state, "diverged");
    const kept: number[] = [];
    for await (const entry of pair.source.volume.log.entries(1)) kept.push(entry.sequence);
    assert.equal(kept, [1, 2]);
    await relationship.close();
  });
}

test.run();
