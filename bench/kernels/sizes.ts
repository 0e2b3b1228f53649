// The matrix: sizes of a unit, data units, parity units. Quick runs take its corners that matter most.

export const KIB = 1024;

export interface Matrix {
  readonly sizes: readonly number[];
  readonly dataUnits: readonly number[];
}

export function matrix(isQuick: boolean): Matrix {
  if (isQuick) return { sizes: [4 * KIB], dataUnits: [8] };
  return { sizes: [512, 4 * KIB, 64 * KIB, 1024 * KIB], dataUnits: [2, 4, 8, 15] };
}

/** Peers and digests: of these sizes, with 8 data units. */
export const PEER_DATA_UNITS = 8;

export function sizeName(bytes: number): string {
  if (bytes < KIB) return `${bytes} B`;
  return bytes < KIB * KIB ? `${bytes / KIB} KiB` : `${bytes / KIB / KIB} MiB`;
}

/** What repeats itself only after 2^32 bytes: nothing that is measured here can profit from sameness. */
export function fillNoise(bytes: Uint8Array): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state ^ (state >>> 15);
  }
}
