/** The uniform arena: the params of all dispatches of a step, one slot each, written at once. */
import { assert } from "../core/assert.ts";
import type { Buffers } from "./buffers.ts";

/** One dispatch's params. Every device allows dynamic offsets at multiples of 256. */
export const PARAMS_SLOT_BYTES = 256;
const SLOT_WORDS = PARAMS_SLOT_BYTES / 4;
/** 512 slots are 128 KiB: a step of a 40-layer model. */
const SLOTS_AT_FIRST = 512;

export class ParamsArena {
  readonly #device: GPUDevice;
  readonly #buffers: Buffers;
  #words = new Uint32Array(SLOTS_AT_FIRST * SLOT_WORDS);
  #buffer: GPUBuffer | null = null;
  #slots = 0;

  constructor(device: GPUDevice, buffers: Buffers) {
    this.#device = device;
    this.#buffers = buffers;
  }

  /** Forgets the slots of the step before. */
  reset(): void {
    this.#slots = 0;
  }

  /** Puts params into the next slot; returns its byte offset. */
  add(params: readonly number[]): number {
    assert(params.length <= SLOT_WORDS, "params fit their slot");
    if ((this.#slots + 1) * SLOT_WORDS > this.#words.length) {
      const longer = new Uint32Array(2 * this.#words.length);
      longer.set(this.#words);
      this.#words = longer;
    }
    this.#words.set(params, this.#slots * SLOT_WORDS);
    return PARAMS_SLOT_BYTES * this.#slots++;
  }

  /** Writes the slots in use; returns the buffer that holds them, which is another one after it has grown. */
  write(): GPUBuffer {
    if (this.#buffer === null || this.#buffer.size < this.#words.byteLength) {
      if (this.#buffer !== null) this.#buffers.destroy(this.#buffer);
      this.#buffer = this.#buffers.create(
        "params",
        this.#words.byteLength,
        GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      );
    }
    this.#device.queue.writeBuffer(this.#buffer, 0, this.#words, 0, this.#slots * SLOT_WORDS);
    return this.#buffer;
  }
}
