/** Scratch buffers, kept between steps by size class, so that a steady load allocates nothing. */
import type { Buffers } from "./buffers.ts";

/** Free scratch kept between steps at most; beyond it the longest unused goes. */
const FREE_BYTES_MAX = 512 * 1024 * 1024;
const SMALLEST_CLASS_BYTES = 256;

/** The next of the sizes 2^e · {4, 5, 6, 7} / 4: at most a fifth of a buffer is wasted, and there are few classes. */
export function sizeClass(bytes: number, bytesMax: number): number {
  if (bytes <= SMALLEST_CLASS_BYTES) return Math.min(SMALLEST_CLASS_BYTES, bytesMax);
  const quarter = 2 ** Math.floor(Math.log2(bytes)) / 4;
  return Math.min(Math.ceil(bytes / quarter) * quarter, bytesMax);
}

export class ScratchPool {
  readonly #buffers: Buffers;
  readonly #bytesMax: number;
  readonly #freeBytesMax: number;
  /** Free buffers, the longest unused first. */
  readonly #free = new Set<GPUBuffer>();
  /** The same buffers by size, the last given last: it is taken first. */
  readonly #bySize = new Map<number, GPUBuffer[]>();
  #freeBytes = 0;

  /** `bytesMax` is the most that one binding can show. */
  constructor(buffers: Buffers, bytesMax: number, freeBytesMax = FREE_BYTES_MAX) {
    this.#buffers = buffers;
    this.#bytesMax = bytesMax;
    this.#freeBytesMax = freeBytesMax;
  }

  /** The size that {@link take} gives for `bytes`. */
  classOf(bytes: number): number {
    return sizeClass(bytes, this.#bytesMax);
  }

  /** A buffer of `size` bytes, a size class; its contents are undefined. */
  take(size: number): GPUBuffer {
    const buffer = this.#bySize.get(size)?.pop();
    if (buffer === undefined) return this.#buffers.create("scratch", size);
    this.#free.delete(buffer);
    this.#freeBytes -= size;
    return buffer;
  }

  /** Takes a buffer back; what was submitted may still use it. */
  give(buffer: GPUBuffer): void {
    this.#free.add(buffer);
    this.#freeBytes += buffer.size;
    const same = this.#bySize.get(buffer.size);
    if (same === undefined) this.#bySize.set(buffer.size, [buffer]);
    else same.push(buffer);
  }

  /** Destroys the longest unused free buffers until the rest fits the budget. */
  trim(): void {
    for (const buffer of this.#free) {
      if (this.#freeBytes <= this.#freeBytesMax) return;
      this.#free.delete(buffer);
      this.#freeBytes -= buffer.size;
      const same = this.#bySize.get(buffer.size)!;
      same.splice(same.indexOf(buffer), 1);
      this.#buffers.destroy(buffer);
    }
  }
}
