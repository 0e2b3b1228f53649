// A whole volume, 3 + 1 with two log copies, damaged by a script: opened, read, written, closed, and checked.
//
// Oracles: no read returns what was not written, whatever was damaged; as long as one member and one log copy are
// damaged at most, everything is there; the check of a closed volume and the inspectors get through any damage.

import { BLOCK_BYTES } from "../../../assembly/format.ts";
import { checkVolume } from "../../../src/volume/check.ts";
import { inspectMap, inspectSuperblock } from "../../../src/volume/inspect.ts";
import type { Volume } from "../../../src/volume/volume.ts";
import { MemoryStorage } from "../../support/memory_storage.ts";
import { content, makeKernel, makeVolume, makeWorld, openVolume, smallConfig } from "../../volume/fixture.ts";
import { joined } from "../mutator.ts";
import { ACCEPTED, expect, refusal, type Target, type Verdict } from "../target.ts";
import { apply, type Edited, edit, type Image, imageOf } from "./edits.ts";

const CONFIG = smallConfig({ sizeBytes: 256 * BLOCK_BYTES, memberBytes: 2 * 1024 * 1024 });
const MEMBERS = CONFIG.members.length;
const FILES = [
  ...CONFIG.members,
  ...CONFIG.log.flatMap((prefix) => [0, 1, 2, 3].map((slot) => `${prefix}.${slot}`)),
];
const LBAS = [0, 1, 2, 3, 40, 127, 128, 129, 200, 255];

async function write(): Promise<Image> {
  const storage = new MemoryStorage();
  await makeVolume(storage, CONFIG);
  const volume = await openVolume(storage, CONFIG);
  for (const lba of LBAS) await volume.write(lba * BLOCK_BYTES, content(lba, 0));
  await volume.consistencyPoint();
  for (const lba of LBAS.slice(3)) await volume.write(lba * BLOCK_BYTES, content(lba, 1));
  await volume.trim(60 * BLOCK_BYTES, 20 * BLOCK_BYTES);
  await volume.consistencyPoint();
  for (const lba of LBAS.slice(6)) await volume.write(lba * BLOCK_BYTES, content(lba, 2));
  // As a crash leaves it: the log has entries to replay.
  return imageOf(storage.ifPowerFailedNow("drop"), FILES, CONFIG.memberBytes!);
}

const versionOf = (index: number) => (index < 3 ? 0 : index < 6 ? 1 : 2);

let written: Promise<Image> | null = null;
const theVolume = () => (written ??= write());

export const volumeFilesTarget: Target = {
  name: "volume-files",
  bytesMax: 96,
  share: 12,
  batch: 8,
  seeds: async () => {
    const image = await theVolume();
    const superblocks = [0, 1, 2, 3].map((file) => edit(1, file, 0));
    const whole = image.places[1]!.slice(0, 20).map((_, place) => edit(2, 1, place * 7, 0, place));
    const forged = [0, 2, 8, 20, 40].map((place) => edit(4, 0, place, 48 + place, 0x9000));
    return [new Uint8Array(0), joined(...superblocks), joined(...whole), joined(...forged), ...forged];
  },
  check: async (script) => {
    const image = await theVolume();
    const edited = apply(image, script);
    await look(edited);
    const files = [...edited.damaged];
    const members = files.filter((file) => file < MEMBERS).length;
    const copies = new Set(files.filter((file) => file >= MEMBERS).map((file) => (file - MEMBERS) >> 2)).size;
    const isHarmless = members <= 1 && copies <= 1 && !edited.isMisplaced && !edited.isForged;
    let volume: Volume;
    try {
      volume = await openVolume(edited.storage, CONFIG);
    } catch (error) {
      if (isHarmless) throw error;
      return refusal(error);
    }
    const verdict = await read(volume, edited, isHarmless);
    await use(volume, isHarmless);
    return verdict;
  },
};

/** What only reads must get through anything. */
async function look({ storage }: Edited): Promise<void> {
  try {
    await checkVolume(makeWorld(storage), makeKernel(), CONFIG);
  } catch (error) {
    refusal(error);
  }
  for (const path of CONFIG.members) await inspectSuperblock(storage, makeKernel(), path);
  try {
    await inspectMap(storage, makeKernel(), CONFIG.members, { verifyData: true });
  } catch (error) {
    refusal(error);
  }
}

async function read(volume: Volume, { isForged }: Edited, isHarmless: boolean): Promise<Verdict> {
  let verdict: Verdict = ACCEPTED;
  for (const [index, lba] of LBAS.entries()) {
    try {
      const block = await volume.read(lba * BLOCK_BYTES, BLOCK_BYTES);
      const version = versions(lba, block);
      const isRight = isHarmless ? version === versionOf(index) : version !== null;
      expect(isForged || isRight, `block ${lba} has version ${version}, not ${versionOf(index)}`);
    } catch (error) {
      if (isHarmless) throw error;
      verdict = refusal(error);
    }
  }
  return verdict;
}

/** An older version is what an older image holds: with all newer superblocks gone, that is what is left. */
function versions(lba: number, block: Uint8Array): number | null {
  const found = [2, 1, 0].find((version) => content(lba, version).every((byte, at) => byte === block[at]));
  if (found !== undefined) return found;
  return block.every((byte) => byte === 0) ? -1 : null;
}

/** A volume that opened can be written, made durable and closed, or says why not. */
async function use(volume: Volume, isHarmless: boolean): Promise<void> {
  try {
    await volume.write(9 * BLOCK_BYTES, content(9, 5));
    await volume.consistencyPoint();
    expect(versions(9, await volume.read(9 * BLOCK_BYTES, BLOCK_BYTES)) !== -1, "a write is lost");
  } catch (error) {
    if (isHarmless) throw error;
    refusal(error);
  }
  try {
    await volume.close();
  } catch (error) {
    if (isHarmless) throw error;
    refusal(error);
  }
}
