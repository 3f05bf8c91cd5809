/** Allocation in the shared memories. Freed pieces are kept by size and handed out again before new ground is broken. */
import { assert } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import { ALIGNMENT } from "./layout.ts";

/** A wasm memory has at most 65,536 pages of 64 KiB. The last page is left out: 2^32 is no 32-bit address. */
export const MEMORY_BYTES_MAX = 65535 * 65536;

/** A shared memory of `bytes`; untouched parts of it cost nothing. It never grows, so that views stay valid. */
export function createMemory(bytes: number): WebAssembly.Memory {
  const initial = Math.ceil(bytes / 65536);
  return new WebAssembly.Memory({ initial, maximum: 65536, shared: true });
}

export class Arena {
  #next: number;
  readonly #free = new Map<number, number[]>();
  readonly #reused = new Set<number>();
  readonly #sizes = new Map<number, number>();
  #live = 0;

  constructor(begin: number, readonly end: number, readonly what: string) {
    this.#next = begin;
  }

  get liveBytes(): number {
    return this.#live;
  }

  /** An address of `bytes` bytes on a cache line; contents undefined. Throws StartError when the memory is full. */
  take(bytes: number): number {
    const size = roundUp(bytes);
    let address = this.#free.get(size)?.pop();
    if (address === undefined) {
      if (this.#next + size > this.end) {
        throw new StartError(
          `Cannot take ${size} bytes of ${this.what}: ${this.#next} of ${this.end} are in use`,
        );
      }
      address = this.#next;
      this.#next += size;
    }
    this.#sizes.set(address, size);
    this.#live += size;
    return address;
  }

  /** Whether `take` would succeed. */
  fits(bytes: number): boolean {
    const size = roundUp(bytes);
    return (this.#free.get(size)?.length ?? 0) > 0 || this.#next + size <= this.end;
  }

  /** Whether an address that was taken had been given back before, and so may not be zero. */
  reused(address: number): boolean {
    return this.#reused.has(address);
  }

  give(address: number): void {
    const size = this.#sizes.get(address);
    assert(size !== undefined, "memory is given back once");
    this.#sizes.delete(address);
    this.#reused.add(address);
    this.#live -= size;
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [address]);
    else list.push(address);
  }
}

/** What an allocation of `bytes` takes: whole cache lines. */
export function roundUp(bytes: number): number {
  return Math.ceil(Math.max(bytes, 1) / ALIGNMENT) * ALIGNMENT;
}

/** Sizes of scratch between two powers of two. */
const CLASSES_OF_OCTAVE = 8;

/**
 * What scratch of `bytes` takes: up to an eighth more, so that batches of every length share some hundred sizes. Pieces are
 * reused by size alone, and a size a length would fill any memory in time.
 */
export function scratchSize(bytes: number): number {
  const octave = 2 ** Math.floor(Math.log2(Math.max(bytes, 1)));
  const step = octave / CLASSES_OF_OCTAVE;
  return roundUp(Math.ceil(bytes / step) * step);
}
