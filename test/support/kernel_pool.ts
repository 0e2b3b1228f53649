// Kernels for tests that open many volumes. Making a WebAssembly memory costs more than opening a small volume, so
// one is used again as soon as nothing is allocated in it: whoever closed has given everything back. What stopped
// in the middle (a crashed world) never does, and its kernel is never used again.
import { Kernel } from "../../src/kernel/kernel.ts";

const POOL_MAX = 8;

interface Pooled {
  readonly kernel: Kernel;
  readonly freeBytes: number;
}

let pool: Pooled[] = [];

export function pooledKernel(memoryBytes: number): Kernel {
  const found = pool.find(({ kernel, freeBytes }) => {
    return kernel.bytes.length === memoryBytes && kernel.arena.freeBytes === freeBytes;
  });
  if (found) return found.kernel;
  const kernel = Kernel.createSync({ memoryBytes });
  pool = [{ kernel, freeBytes: kernel.arena.freeBytes }, ...pool].slice(0, POOL_MAX);
  return kernel;
}
