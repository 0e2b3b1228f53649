// The write path: mirrorvol, embedded and by NBD, beside the floor and QEMU's mirror. All are up at the same
// time, and take turns load by load: what disturbs the machine for a while disturbs all of them.

import { sleep } from "../support/clock.ts";
import { type BenchFolder, withFolder } from "../support/folders.ts";
import { fill, type LoadResult, runLoad } from "../support/load.ts";
import { compile, compilerObstacle } from "../support/native.ts";
import type { Recorder } from "../support/rows.ts";
import { MIB, type Shape } from "../support/shape.ts";
import { fioObstacle, measureFio } from "./fio.ts";
import { type FloorOptions, floorByNbd, measureDirectFloor } from "./floor.ts";
import { loads, type NamedLoad, rounds, spanBytes } from "./loads.ts";
import { byNbd, embedded } from "./ours.ts";
import { qemuMirror, qemuObstacle } from "./qemu.ts";
import { record } from "./record.ts";
import type { Subject } from "./subject.ts";

const LOG_BYTES = 128 * MIB;
const LOG_COPIES = [1, 2];
/** For what the file system does afterwards. */
const CALM_MS = 100;

export async function write(recorder: Recorder): Promise<void> {
  await withFolder((folder) => measureAll(folder, recorder));
}

async function measureAll(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const subjects: Subject[] = [];
  const floors = await prepareFloors(folder, recorder);
  try {
    await startSubjects(folder, recorder, floors, subjects);
    for (const { target } of subjects) await fill(target, spanBytes(recorder.isQuick));
    for (const { settle } of subjects) await settle();
    for (const load of loads(recorder.isQuick)) await takeTurns(recorder, subjects, floors, load);
  } finally {
    for (const { close } of subjects) await close();
  }
  await measureByFio(folder, recorder);
}

function shapes(isQuick: boolean): Shape[] {
  const common = { sizeBytes: 2 * spanBytes(isQuick), logBytes: LOG_BYTES };
  return [
    { ...common, memberCount: 4, parity: 1, logCopies: 2 },
    { ...common, memberCount: 1, parity: 0, logCopies: 1 },
  ];
}

async function prepareFloors(folder: BenchFolder, recorder: Recorder): Promise<FloorOptions[]> {
  const obstacle = compilerObstacle();
  if (obstacle !== null) {
    recorder.skip("C floor", obstacle);
    return [];
  }
  const program = await compile(folder, "floor");
  return LOG_COPIES.map((logCopies) => ({ folder, program, logCopies }));
}

async function startSubjects(
  folder: BenchFolder,
  recorder: Recorder,
  floors: readonly FloorOptions[],
  subjects: Subject[],
): Promise<void> {
  for (const shape of shapes(recorder.isQuick)) {
    subjects.push(await byNbd(folder, `nbd-${shape.memberCount}`, shape));
    subjects.push(await embedded(folder, `embedded-${shape.memberCount}`, shape));
  }
  const bytes = 2 * spanBytes(recorder.isQuick);
  for (const floor of floors) subjects.push(await floorByNbd(floor, bytes));
  const obstacle = qemuObstacle();
  if (obstacle === null) subjects.push((await qemuMirror(folder, bytes)).subject);
  else recorder.skip("QEMU mirror", obstacle);
}

async function takeTurns(
  recorder: Recorder,
  subjects: readonly Subject[],
  floors: readonly FloorOptions[],
  named: NamedLoad,
): Promise<void> {
  const results = subjects.map((): LoadResult[] => []);
  for (let round = 0; round < rounds(recorder.isQuick); round++) {
    // There and back, so that nobody always comes after the same one.
    const order = round % 2 === 0 ? [...subjects.keys()] : [...subjects.keys()].reverse();
    for (const index of order) {
      const { target, settle } = subjects[index]!;
      results[index]!.push(await runLoad(target, named.load));
      await settle();
      await sleep(CALM_MS);
    }
  }
  for (const [index, { who, params, cps }] of subjects.entries()) {
    const of = { who, params: { ...params, ...named.params } };
    record(recorder, of, named.load.bytes, results[index]!, cps?.() ?? null);
  }
  if (named.load.readShare > 0) return;
  for (const floor of floors) await measureDirectFloor(recorder, floor, named);
}

async function measureByFio(folder: BenchFolder, recorder: Recorder): Promise<void> {
  const obstacle = fioObstacle();
  if (obstacle !== null) return recorder.skip("fio", obstacle);
  const span = spanBytes(recorder.isQuick);
  const [shape] = shapes(recorder.isQuick);
  const ours = await byNbd(folder, "fio", shape!);
  try {
    const params = ours.params;
    const { uri } = ours;
    for (const flushes of [false, true]) {
      await measureFio(recorder, { who: ours.who, params, uri, flushes }, span);
      await ours.settle();
    }
  } finally {
    await ours.close();
  }
  if (qemuObstacle() !== null) return;
  const { subject, port } = await qemuMirror(folder, 2 * span);
  const uri = `nbd://127.0.0.1:${port}/disk`;
  try {
    await measureFio(recorder, { who: subject.who, params: subject.params, uri, flushes: true }, span);
  } finally {
    await subject.close();
  }
}
