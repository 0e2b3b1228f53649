// Checking a closed volume, reading only: everything that a commit and the log must leave behind is proved from the
// files, or what is wrong is named with its place.
//
//   members     every superblock copy, and that they agree (check_members.ts)
//   table       every copy of every segment-table page (check_table.ts)
//   maps        both maps and the free list, hashes up to the root hash, space (check_maps.ts)
//   rows        every stored block, every summary, all parity (check_rows.ts)
//   log         every copy, and what it would replay (check_log.ts, log/check.ts)
//
// A fault is damage or contradiction, also where redundancy still makes up for it. What crashes and lost devices
// leave behind is a warning: the volume is consistent, though it may have less protection than it was made with.
//
// The lock is taken while the check runs, so a volume in use is refused (ERR_LOCKED) and none is opened meanwhile.
// Memory: about nine bytes for each block in use, and a bit for each block that the members could hold.
import type { Disk } from "../io/disk.ts";
import type { World } from "../io/world.ts";
import { MirrorvolError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type Finding, Findings } from "../log/findings.ts";
import { checkVolumeLog } from "./check_log.ts";
import { MapCheck } from "./check_maps.ts";
import { MemberCheck } from "./check_members.ts";
import { RowsCheck } from "./check_rows.ts";
import { TableCheck } from "./check_table.ts";
import type { VolumeConfig } from "./config.ts";
import { type Assembly, assembleMembers, readCandidate } from "./members.ts";
import { refuseMisfit } from "./refusals.ts";
import { Store } from "./store.ts";
import type { Role } from "./superblock.ts";
import { toHex } from "./words.ts";

export type { Finding };

/** What the volume is, as far as its superblocks could be read. */
export interface CheckedVolume {
  readonly role: Role;
  readonly generation: number;
  readonly commit: number;
  readonly cp: number;
  readonly rootHash: string;
  /** The last entry of the log; null when no log can be opened. */
  readonly sequence: number | null;
}

export interface CheckReport {
  readonly name: string;
  /** Null when there is no superblock to go by. */
  readonly volume: CheckedVolume | null;
  /** How much was looked at. */
  readonly superblocks: number;
  readonly tablePages: number;
  readonly blocks: number;
  readonly nodes: number;
  readonly rows: number;
  readonly entries: number;
  /** In the order in which they were found; empty when the volume is consistent. The first thousand. */
  readonly faults: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly faultCount: number;
  readonly warningCount: number;
}

export interface CheckOptions {
  /** How far it is; total is 0 where it is not known yet. */
  readonly onProgress?: (phase: "members" | "maps" | "rows" | "log", done: number, total: number) => void;
}

const CACHE_BYTES = 16 * 1024 * 1024;

/**
 * Rejects with ERR_LOCKED when the volume is in use, with ERR_CONFIG when the configuration does not fit the volume;
 * whatever else is wrong is in the report.
 */
export function checkVolume(
  world: World,
  kernel: Kernel,
  config: VolumeConfig,
  options: CheckOptions = {},
): Promise<CheckReport> {
  return new VolumeCheck(world, kernel, config, options).run();
}

type Counts = Pick<CheckReport, "superblocks" | "tablePages" | "blocks" | "nodes" | "rows" | "entries">;

class VolumeCheck {
  readonly #world: World;
  readonly #kernel: Kernel;
  readonly #config: VolumeConfig;
  readonly #progress: NonNullable<CheckOptions["onProgress"]>;
  readonly #findings = new Findings();
  #counts: Counts = { superblocks: 0, tablePages: 0, blocks: 0, nodes: 0, rows: 0, entries: 0 };

  constructor(world: World, kernel: Kernel, config: VolumeConfig, { onProgress }: CheckOptions) {
    this.#world = world;
    this.#kernel = kernel;
    this.#config = config;
    this.#progress = onProgress ?? (() => {});
  }

  async run(): Promise<CheckReport> {
    const disks: Disk[] = [];
    try {
      await this.#openMembers(disks);
      await this.#world.storage.lock(disks);
      this.#progress("members", 0, 0);
      const assembly = await this.#assemble(disks);
      return this.#report(assembly && (await this.#checkAll(assembly, disks)));
    } finally {
      await Promise.all(disks.map((disk) => disk.close()));
    }
  }

  async #openMembers(disks: Disk[]): Promise<void> {
    for (const path of this.#config.members) {
      try {
        disks.push(await this.#world.storage.open(path, { readOnly: true }));
      } catch (error) {
        const found = error instanceof Error ? error.message : String(error);
        this.#findings.warn({ path, offset: null, structure: "member", expected: "a file or device", found });
      }
    }
  }

  async #assemble(disks: readonly Disk[]): Promise<Assembly | null> {
    try {
      return assembleMembers(await Promise.all(disks.map((disk) => readCandidate(this.#kernel, disk))));
    } catch (error) {
      this.#refuse("members", "those of one volume, with one history", error);
      return null;
    }
  }

  async #checkAll(assembly: Assembly, disks: readonly Disk[]): Promise<CheckedVolume> {
    const { superblock } = assembly;
    refuseMisfit(this.#config, superblock);
    const members = new MemberCheck(this.#kernel, this.#findings, superblock);
    await members.run(assembly);
    for (const { path, reason } of assembly.excluded) {
      await members.checkExcluded(disks.find((disk) => disk.path === path)!, reason);
    }
    this.#count({ superblocks: members.copies });
    await this.#checkImage(assembly);
    this.#progress("log", 0, 0);
    const { storage } = this.#world;
    const log = await checkVolumeLog(storage, this.#kernel, this.#config.log, superblock, this.#findings);
    this.#count({ entries: log.entries });
    const { role, history, commit, cp, mapRoot } = superblock;
    const rootHash = toHex(new Uint8Array(mapRoot.slice(4, 8).buffer));
    const generation = history[history.length - 1]!.number;
    return { role, generation, commit, cp, rootHash, sequence: log.tail };
  }

  async #checkImage({ superblock, disks }: Assembly): Promise<void> {
    const none = () => {};
    const store = new Store({
      kernel: this.#kernel,
      superblock,
      disks,
      cacheBytes: this.#config.cacheBytes ?? CACHE_BYTES,
      onMemberLost: none,
      onWork: none,
    });
    try {
      await store.load();
      store.refuseTooFew();
      await this.#checkStore(store);
    } catch (error) {
      this.#refuse("image", "one that can be read", error);
    } finally {
      await store.raid.close();
    }
  }

  async #checkStore(store: Store): Promise<void> {
    this.#count({ tablePages: await new TableCheck(store, this.#findings).run() });
    this.#progress("maps", 0, 0);
    const maps = new MapCheck(store, this.#findings);
    await maps.run();
    this.#count({ blocks: maps.blocks, nodes: maps.nodes });
    const { table } = store;
    let total = 0;
    for (let segment = 0; segment < table.count; segment++) total += table.get(segment).written;
    const onRows = (rows: number) => this.#progress("rows", rows, total);
    onRows(0);
    const rows = new RowsCheck(store, maps, this.#findings, onRows);
    await rows.run();
    this.#count({ rows: rows.rows });
  }

  #refuse(structure: string, expected: string, error: unknown): void {
    if (!(error instanceof MirrorvolError) || error.code === "ERR_ASSERTION") throw error;
    this.#findings.fault({ path: null, offset: null, structure, expected, found: error.message });
  }

  #count(counts: Partial<Counts>): void {
    this.#counts = { ...this.#counts, ...counts };
  }

  #report(volume: CheckedVolume | null): CheckReport {
    const { faults, warnings, faultCount, warningCount } = this.#findings;
    return { name: this.#config.name, volume, ...this.#counts, faults, warnings, faultCount, warningCount };
  }
}
