/** Every buffer of the device is made and destroyed here, so that what is held is known exactly. */
import { assert } from "../core/assert.ts";
import type { Faults } from "./faults.ts";

/** What every buffer that kernels touch may be used for. */
export const STORAGE_USAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** Bytes of one host write: a larger one makes the runtime hold a second copy of all of it. */
export const WRITE_BYTES = 4 * 1024 * 1024;

export class Buffers {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #live = new Set<GPUBuffer>();
  #bytes = 0;
  /** Called with each buffer just before it goes, so that nothing keeps naming it. */
  onDestroy: (buffer: GPUBuffer) => void = () => {};

  constructor(device: GPUDevice, faults: Faults) {
    this.#device = device;
    this.#faults = faults;
  }

  /** Bytes of all buffers alive. */
  get liveBytes(): number {
    return this.#bytes;
  }

  /** A zeroed buffer of at least `bytes`, rounded up to whole vec4s. A failure shows at the next step's end. */
  create(
    label: string,
    bytes: number,
    usage: GPUBufferUsageFlags = STORAGE_USAGE,
    mappedAtCreation = false,
  ): GPUBuffer {
    assert(bytes > 0, `buffer ${label} has a size`);
    // Kernels bind some buffers as arrays of vec4, which the last element must fill.
    const size = Math.ceil(bytes / 16) * 16;
    const buffer = this.#faults.guard(
      `buffer ${label} of ${size} bytes`,
      () => this.#device.createBuffer({ label, size, usage, mappedAtCreation }),
    );
    this.#live.add(buffer);
    this.#bytes += size;
    return buffer;
  }

  /** Writes a buffer from its start; it is done before whatever is submitted next. */
  fill(buffer: GPUBuffer, data: Float32Array): void {
    const { queue } = this.#device;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.byteLength; at += WRITE_BYTES) {
      queue.writeBuffer(buffer, at, bytes.subarray(at, at + WRITE_BYTES) as BufferSource);
      // Hands the copy over at once instead of with the next step.
      queue.submit([]);
    }
  }

  destroy(buffer: GPUBuffer): void {
    assert(this.#live.delete(buffer), `buffer ${buffer.label} is alive when destroyed`);
    this.#bytes -= buffer.size;
    this.onDestroy(buffer);
    // Dropping the reference is not enough: the collector does not see device memory.
    buffer.destroy();
  }

  destroyAll(): void {
    for (const buffer of [...this.#live]) this.destroy(buffer);
  }
}
