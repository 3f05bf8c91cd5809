/** Brings results to the host without waiting for the runtime's timer. */
import { setImmediate } from "node:timers";
import type { Buffers } from "./buffers.ts";

const SMALLEST_BYTES = 64 * 1024;

/** Part of a buffer that is wanted on the host. */
export interface Read {
  readonly buffer: GPUBuffer;
  readonly bytes: number;
}

export class Readback {
  readonly #buffers: Buffers;
  #buffer: GPUBuffer | null = null;

  constructor(buffers: Buffers) {
    this.#buffers = buffers;
  }

  /** Encodes the copies of `reads`, one after the other. */
  encode(encoder: GPUCommandEncoder, reads: readonly Read[]): void {
    const target = this.#hold(reads.reduce((sum, read) => sum + read.bytes, 0));
    let at = 0;
    for (const { buffer, bytes } of reads) {
      encoder.copyBufferToBuffer(buffer, 0, target, at, bytes);
      at += bytes;
    }
  }

  /** Waits for the device, then returns what was copied. Call it after the submit, with the same `reads`. */
  async take(reads: readonly Read[]): Promise<ArrayBuffer[]> {
    const target = this.#buffer!;
    const total = reads.reduce((sum, read) => sum + read.bytes, 0);
    // Deno 2.9 waits for the device inside mapAsync and settles its promise by a timer 10 ms later; the data are there
    // at once. A runtime that maps later throws at getMappedRange, and the promise is awaited then.
    const mapping = target.mapAsync(GPUMapMode.READ, 0, total);
    mapping.catch(() => {});
    let mapped: ArrayBuffer;
    try {
      mapped = target.getMappedRange(0, total);
    } catch {
      await mapping;
      mapped = target.getMappedRange(0, total);
    }
    const results: ArrayBuffer[] = [];
    let at = 0;
    for (const { bytes } of reads) {
      results.push(mapped.slice(at, at + bytes));
      at += bytes;
    }
    target.unmap();
    // One turn of the event loop, or the promises not waited for would pile up.
    await new Promise<void>((resolve) => setImmediate(resolve));
    return results;
  }

  #hold(bytes: number): GPUBuffer {
    if (this.#buffer !== null && this.#buffer.size >= bytes) return this.#buffer;
    if (this.#buffer !== null) this.#buffers.destroy(this.#buffer);
    const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
    this.#buffer = this.#buffers.create(
      "readback",
      size,
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      true,
    );
    // Mapped once at creation: in Deno 2.9 getMappedRange without that, right after a first mapAsync, ends the process.
    this.#buffer.unmap();
    return this.#buffer;
  }
}
