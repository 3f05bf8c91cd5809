/** Rotary position angles, computed on the host: a device's sin and cos are too coarse for long contexts. */
import type { RopeConfig } from "../model/config.ts";

/** Positions whose rows are kept together once computed. */
const BLOCK = 256;

/**
 * Inverse frequencies [headDim / 2], in f32 steps as transformers computes them.
 * llama3: low frequencies are divided by `factor`, the band between is blended (Llama 3.1's rope scaling).
 */
export function inverseFrequencies(rope: RopeConfig, headDim: number): Float32Array {
  const out = new Float32Array(headDim / 2);
  for (let i = 0; i < out.length; i++) {
    const frequency = Math.fround(1 / Math.fround(rope.theta ** Math.fround(2 * i / headDim)));
    out[i] = rope.llama3 === null ? frequency : scaleLlama3(frequency, rope.llama3);
  }
  return out;
}

function scaleLlama3(frequency: number, scaling: NonNullable<RopeConfig["llama3"]>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalPositions } = scaling;
  const wavelength = 2 * Math.PI / frequency;
  if (wavelength > originalPositions / lowFreqFactor) return frequency / factor;
  if (wavelength < originalPositions / highFreqFactor) return frequency;
  const smooth = (originalPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

/** Rows [cos (headDim/2), sin (headDim/2)] of positions, remembered by blocks. */
export class Rotary {
  readonly #frequencies: Float32Array;
  readonly #blocks = new Map<number, Float32Array>();

  constructor(rope: RopeConfig, readonly headDim: number) {
    this.#frequencies = inverseFrequencies(rope, headDim);
  }

  /** `positions` has three numbers a token; text models use the first. Returns [tokens, headDim]. */
  rows(positions: Uint32Array): Float32Array {
    const tokens = positions.length / 3;
    const out = new Float32Array(tokens * this.headDim);
    for (let t = 0; t < tokens; t++) {
      const position = positions[3 * t];
      const block = this.#block(Math.floor(position / BLOCK));
      const row = (position % BLOCK) * this.headDim;
      out.set(block.subarray(row, row + this.headDim), t * this.headDim);
    }
    return out;
  }

  /** Rows of positions 0 … count − 1. */
  firstRows(count: number): Float32Array {
    const out = new Float32Array(count * this.headDim);
    for (let first = 0; first < count; first += BLOCK) {
      const rows = Math.min(BLOCK, count - first);
      out.set(this.#block(first / BLOCK).subarray(0, rows * this.headDim), first * this.headDim);
    }
    return out;
  }

  /** The mean row of positions first … first + count − 1. */
  mean(first: number, count: number): Float32Array {
    const sums = new Float64Array(this.headDim);
    for (let position = first; position < first + count; position++) {
      const block = this.#block(Math.floor(position / BLOCK)), row = (position % BLOCK) * this.headDim;
      for (let d = 0; d < this.headDim; d++) sums[d] += block[row + d];
    }
    return Float32Array.from(sums, (sum) => sum / count);
  }

  #block(index: number): Float32Array {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const half = this.headDim / 2;
    const block = new Float32Array(BLOCK * this.headDim);
    for (let p = 0; p < BLOCK; p++) {
      for (let i = 0; i < half; i++) {
        const angle = Math.fround((index * BLOCK + p) * this.#frequencies[i]);
        block[p * this.headDim + i] = Math.cos(angle);
        block[p * this.headDim + half + i] = Math.sin(angle);
      }
    }
    this.#blocks.set(index, block);
    return block;
  }
}
