// The RAID-5 write hole: a part of a stripe is overwritten in place, the power fails between the data and the
// parity, and from then on the parity fits nothing. A member lost later takes with it blocks that nobody had
// written to. btrfs says of its RAID56 that parity may be inconsistent after a crash; MD closes the hole with
// a journal or a partial parity log, which have to be configured.
//
// Ours: a live block is never overwritten; stripes are written whole, into empty stripes, or not at all. So
// the power may fail at every write of a consistency point, and then any one member may be lost as well.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import type { VolumeConfig } from "../../src/volume/volume.ts";
import { assert, suite } from "../support/harness.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { share } from "../support/thorough.ts";
import { FaultyStorage } from "../volume/faults.ts";
import { content, Model, makeVolume, openVolume, smallConfig } from "../volume/fixture.ts";

const test = suite("museum: the write hole");
const BLOCKS = 48;
const sizes = { sizeBytes: BLOCKS * BLOCK_BYTES, memberBytes: 4 * 1024 * 1024 };

/** Blocks of one stripe are overwritten at different times; the power fails at each event of the CP. */
async function crashes(config: VolumeConfig): Promise<{ found: MemoryStorage[]; model: Model }> {
  const storage = new MemoryStorage();
  await makeVolume(storage, config);
  const volume = await openVolume(storage, config);
  const model = new Model(config.sizeBytes);
  const write = async (lba: number, version: number) => {
    await volume.write(lba * BLOCK_BYTES, content(lba, version));
    model.write(lba * BLOCK_BYTES, content(lba, version));
  };
  for (let lba = 0; lba < BLOCKS; lba++) await write(lba, 1);
  await volume.consistencyPoint();
  for (let lba = 1; lba < BLOCKS; lba += 5) await write(lba, 2);
  const found: MemoryStorage[] = [];
  storage.onEvent = ({ number }) => {
    found.push(storage.ifPowerFailedNow(number % 3 === 0 ? "drop" : number));
  };
  await volume.consistencyPoint();
  storage.onEvent = () => {};
  await volume.close();
  return { found, model };
}

for (const [name, config] of [
  ["3+1", smallConfig(sizes)],
  ["2+2", smallConfig({ ...sizes, parity: 2 })],
] as const) {
  test(`${name}: the power fails at any event of a consistency point, and then members do`, async () => {
    const { found, model } = await crashes(config);
    assert.ok(found.length > 20, `${found.length} events`);
    for (const crashed of share(found, 12)) {
      for (let lost = 0; lost < config.members.length; lost++) {
        const storage = new FaultyStorage(crashed.ifPowerFailedNow("keep"));
        for (let i = 0; i < config.parity; i++) storage.kill(config.members[(lost + i) % 4]!);
        const volume = await openVolume(storage, config);
        await model.expectEqual(volume);
        await volume.close();
      }
    }
  });
}

test.run();
