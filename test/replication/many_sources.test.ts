// One mirror service, several sources: each has its volume, its session and its log, and none disturbs another.

import { BLOCK_BYTES } from "../../assembly/format.ts";
import { MirrorService } from "../../src/replication/mirror.ts";
import { SourceRelationship } from "../../src/replication/source.ts";
import { Volume, type VolumeConfig } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { ManualClock, settle } from "../support/manual_clock.ts";
import { MemoryNetwork } from "../support/memory_network.ts";
import { memoryWorld } from "../support/test_world.ts";
import { content, expectBytes, makeKernel, smallConfig } from "../volume/fixture.ts";

const test = suite("many sources");
const NAMES = ["orders", "stock", "tills"];
const ADDRESS = "mirror:8750";

class Shop {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork();
  readonly sources = new Map<string, { volume: Volume; relationship: SourceRelationship }>();
  readonly mirrors = new Map<string, Volume>();
  readonly events: string[] = [];
  service!: MirrorService;
  #seed = 1;

  static async open(): Promise<Shop> {
    const shop = new Shop();
    for (const name of NAMES) shop.mirrors.set(name, await shop.#make(smallConfig({ name }), "mirror"));
    const world = shop.#world();
    const volumes = { find: (name: string) => shop.mirrors.get(name) };
    const onEvent = (text: string) => shop.events.push(text);
    shop.service = new MirrorService({ world, kernel: makeKernel(), volumes, secret: null, onEvent });
    await world.transport.listen(ADDRESS, (connection) => shop.service.accept(connection));
    for (const name of NAMES) await shop.#openSource(name);
    return shop;
  }

  #world() {
    return memoryWorld({ seed: this.#seed++, network: this.network, clock: this.clock });
  }

  async #make(config: VolumeConfig, role: "source" | "mirror"): Promise<Volume> {
    const world = this.#world();
    await Volume.create(world, makeKernel(), config, role);
    const options = role === "source" ? { hasMirror: true, writeTimeoutMs: 60_000 } : {};
    return Volume.open(world, makeKernel(), config, options);
  }

  async #openSource(name: string): Promise<void> {
    const volume = await this.#make(smallConfig({ name }), "source");
    const relationship = new SourceRelationship({
      world: this.#world(),
      kernel: makeKernel(),
      volume,
      target: { url: `ws://${ADDRESS}`, mode: "sync", onMirrorLoss: "stop", mirrorTimeoutMs: 1000 },
      secret: null,
    });
    relationship.start();
    this.sources.set(name, { volume, relationship });
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    for (let round = 0; round < 500; round++) {
      if (condition()) return;
      await settle();
      await this.clock.advance(10);
    }
    assert.unreachable(`${what}: not within 5 s\n${this.events.join("\n")}`);
  }

  async write(name: string, lba: number, version: number): Promise<void> {
    let isDone = false;
    const data = content(lba, version);
    const done = this.sources.get(name)!.volume.write(lba * BLOCK_BYTES, data);
    done.then(
      () => (isDone = true),
      () => (isDone = true),
    );
    await this.until(`a write to ${name}`, () => isDone);
    await done;
  }

  async closeSource(name: string): Promise<void> {
    const { relationship, volume } = this.sources.get(name)!;
    this.sources.delete(name);
    await relationship.close();
    await volume.close();
  }

  async close(): Promise<void> {
    for (const name of [...this.sources.keys()]) await this.closeSource(name);
    await this.service.close();
    for (const mirror of this.mirrors.values()) await mirror.close();
  }
}

test("three sources write to one mirror at once, and none loses its connection", async () => {
  const shop = await Shop.open();
  const isInSync = (name: string) => shop.sources.get(name)!.relationship.status().state === "in sync";
  await shop.until("all are in sync", () => NAMES.every(isInSync));
  for (let lba = 0; lba < 5; lba++) {
    for (const [index, name] of NAMES.entries()) await shop.write(name, lba, 10 * index + lba);
  }
  await Promise.all(NAMES.map((name) => shop.sources.get(name)!.volume.consistencyPoint()));
  await shop.until("all have made it", () => NAMES.every((name) => shop.mirrors.get(name)!.cp === 1));
  for (const name of NAMES) {
    assert.equal(shop.mirrors.get(name)!.rootHash, shop.sources.get(name)!.volume.rootHash, name);
  }
  const gone = shop.events.filter((text) => text.includes("is gone"));
  assert.equal(gone, []);
  await shop.close();
});

test("one source fails and its volume is promoted here, while the others go on", async () => {
  const shop = await Shop.open();
  for (const name of NAMES) await shop.write(name, 3, 7);
  await shop.closeSource("stock");
  await shop.until("its session has ended", () => !shop.service.connected("stock"));
  await shop.service.promote("stock");
  const stock = shop.mirrors.get("stock")!;
  await stock.write(0, content(0, 2));
  expectBytes(await stock.read(3 * BLOCK_BYTES, BLOCK_BYTES), content(3, 7));
  for (const name of ["orders", "tills"]) {
    assert.ok(shop.service.connected(name), name);
    await shop.write(name, 4, 8);
    assert.is(shop.mirrors.get(name)!.role, "mirror");
  }
  await shop.close();
});

test.run();
