// A volume in this process as the load generator's target.

import type { Volume } from "../../src/index.ts";
import type { Target } from "./load.ts";

export class VolumeTarget implements Target {
  readonly #volume: Volume;

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  write(_slot: number, offset: number, data: Uint8Array, done: (error: Error | null) => void): void {
    this.#volume.write(offset, data).then(() => done(null), done);
  }

  read(_slot: number, offset: number, bytes: number, done: (error: Error | null) => void): void {
    this.#volume.read(offset, bytes).then(() => done(null), done);
  }
}
