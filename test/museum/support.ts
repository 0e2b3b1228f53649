// What the scenarios of the museum share.
import { BLOCK_BYTES } from "../../assembly/format.ts";
import { Volume } from "../../src/volume/volume.ts";
import type { Pair } from "../replication/pair.ts";
import { pooledKernel } from "../support/kernel_pool.ts";
import { settle } from "../support/manual_clock.ts";
import { MemoryStorage } from "../support/memory_storage.ts";
import { content } from "../volume/fixture.ts";

export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const first = await Promise.race([promise.catch(() => {}), settle(200).then(() => "pending")]);
  return first === "pending";
}

/** What a block holds: the version that `content` was asked for, among the given ones; null: none of them. */
export async function versionOf(
  volume: Volume,
  lba: number,
  versions: readonly number[],
): Promise<number | null> {
  const block = await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES);
  const isVersion = (version: number) => {
    const expected = version === 0 ? new Uint8Array(BLOCK_BYTES) : content(lba, version);
    return Buffer.compare(block, expected) === 0;
  };
  return versions.find(isVersion) ?? null;
}

/** The source is gone for good; the mirror has noticed. */
export async function loseSource(pair: Pair): Promise<void> {
  await pair.crashSource("drop");
  await pair.until("the mirror knows", () => !pair.service.connected("orders"));
}

/** Somebody formats the disks of one side, and creates the volume again under its old name. */
export async function makeAnew(pair: Pair, which: "source" | "mirror"): Promise<void> {
  pair[which].storage = new MemoryStorage();
  const config = which === "source" ? pair.sourceConfig : pair.mirrorConfig;
  await Volume.create(pair.world(pair[which].storage), pooledKernel(24 * 1024 * 1024), config, which);
}
