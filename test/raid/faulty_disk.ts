// A disk that counts what it is asked to do and fails where the test says.
import type { Disk, DiskOperation } from "../../src/io/disk.ts";

export type Verdict = Error | null;

export class FaultyDisk implements Disk {
  readonly #inner: Disk;
  readonly submitted: DiskOperation[] = [];
  discarded: { offset: number; length: number }[] = [];
  batches = 0;
  syncs = 0;
  /** Decides the fate of each operation; a failed write is not written. */
  judge: (operation: DiskOperation) => Verdict = () => null;
  syncError: Error | null = null;
  /** Operations wait for this. */
  gate: Promise<void> = Promise.resolve();

  constructor(inner: Disk) {
    this.#inner = inner;
  }

  get path(): string {
    return this.#inner.path;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  async submit(batch: readonly DiskOperation[]): Promise<Verdict[]> {
    this.batches++;
    this.submitted.push(...batch);
    await this.gate;
    const verdicts = batch.map((operation) => this.judge(operation));
    const results = await this.#inner.submit(batch.filter((_, index) => verdicts[index] === null));
    return verdicts.map((verdict) => verdict ?? results.shift()!);
  }

  async sync(): Promise<void> {
    this.syncs++;
    await this.gate;
    if (this.syncError) throw this.syncError;
    await this.#inner.sync();
  }

  async discard(offset: number, length: number): Promise<void> {
    this.discarded.push({ offset, length });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  of(kind: DiskOperation["kind"]): DiskOperation[] {
    return this.submitted.filter((operation) => operation.kind === kind);
  }

  forget(): void {
    this.submitted.length = 0;
    this.batches = 0;
  }
}
