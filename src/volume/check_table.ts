// The segment table on the members: the version of each page that belongs to the commit must be the same on every
// current member, because it is written to all of them before the superblocks move. In the other slot lies an older
// version, or what a commit left behind that never came to be; the next commit that changes the page overwrites it.
import { BLOCK_BYTES, SEGMENT_TABLE_OFFSET } from "../../assembly/format.ts";
import { type Disk, readDisk } from "../io/disk.ts";
import type { Findings } from "../log/findings.ts";
import { countOf } from "../raid/geometry.ts";
import { segmentPageCount } from "./segments.ts";
import type { Store } from "./store.ts";
import { bytesEqual } from "./words.ts";

export class TableCheck {
  readonly #store: Store;
  readonly #findings: Findings;

  constructor(store: Store, findings: Findings) {
    this.#store = store;
    this.#findings = findings;
  }

  /** The number of pages that were compared. */
  async run(): Promise<number> {
    const pages = segmentPageCount(this.#store.table.count);
    const disks = this.#store.disks.filter((disk) => disk !== null);
    for (let page = 0; page < pages; page++) {
      for (const disk of disks) await this.#checkPage(disk, page);
    }
    this.#checkRecords();
    return pages * disks.length;
  }

  async #checkPage(disk: Disk, page: number): Promise<void> {
    const valid = this.#store.table.validPage(page);
    for (const slot of [0, 1]) {
      const offset = SEGMENT_TABLE_OFFSET + (page * 2 + slot) * BLOCK_BYTES;
      const found = await this.#read(disk, offset);
      const commit = typeof found === "string" ? null : this.#store.table.commitOfSlot(found, page);
      const what = typeof found === "string" ? found : describe(found, commit);
      const at = { path: disk.path, offset };
      if (offset === valid.offset) {
        if (typeof found !== "string" && bytesEqual(found, valid.bytes)) continue;
        const isOther = commit === valid.commit;
        const structure = `segment table page ${page}`;
        const expected = `the version of commit ${valid.commit}`;
        this.#findings.fault({ ...at, structure, expected, found: isOther ? "another content" : what });
      } else if (commit === null && what !== "zeros") {
        const structure = `segment table page ${page}, not in use`;
        this.#findings.warn({ ...at, structure, expected: "an older version", found: what });
      }
    }
  }

  async #read(disk: Disk, offset: number): Promise<Uint8Array | string> {
    const bytes = new Uint8Array(BLOCK_BYTES);
    try {
      await readDisk(disk, offset, bytes);
      return bytes;
    } catch (error) {
      return `unreadable: ${error instanceof Error ? error.message : error}`;
    }
  }

  #checkRecords(): void {
    const { table, superblock } = this.#store;
    for (let segment = 0; segment < table.count; segment++) {
      const { used, written, live, geometry } = table.get(segment);
      if (!used) continue;
      const { k, m, members } = geometry;
      const limits: [what: string, max: number, found: number][] = [
        ["written stripes", superblock.segmentStripes, written],
        ["live blocks", written * k, live],
        ["members", k + m, countOf(members)],
      ];
      for (const [what, max, found] of limits) {
        if (found <= max) continue;
        const structure = `segment ${segment}, ${what}`;
        const finding = {
          path: null,
          offset: null,
          structure,
          expected: `at most ${max}`,
          found: `${found}`,
        };
        this.#findings.fault(finding);
      }
    }
  }
}

function describe(bytes: Uint8Array, commit: number | null): string {
  if (commit !== null) return `the version of commit ${commit}`;
  return bytes.every((byte) => byte === 0) ? "zeros" : "checksum mismatch";
}
