/** Numbers and shapes that the operation tests share. */
import { nextFloat, seededRandom } from "../../lib/core/random.ts";
import type { Activation, HeadShape } from "../../lib/ops/backend.ts";
import type { MatrixDtype } from "../../lib/ops/tensor.ts";

/** Row counts on both sides of the tile sizes that kernels use. */
export const ROWS = [1, 2, 3, 5, 8, 9, 17, 33] as const;
/** Row widths: the smallest, one below and above a power of two, a convolution's 3·14·14, a whole model's. */
export const WIDTHS = [4, 12, 60, 68, 588, 1024] as const;
export const MATRIX_DTYPES: readonly MatrixDtype[] = ["f32", "f16", "bf16"];
export const ACTIVATIONS: readonly Activation[] = [
  "none",
  "silu",
  "gelu",
  "gelu_tanh",
  "quick_gelu",
  "relu",
];

/** Head dims of the families served, with 1 to 4 query heads a KV head. */
export const HEAD_SHAPES: readonly HeadShape[] = [
  { heads: 2, kvHeads: 2, headDim: 16 },
  { heads: 2, kvHeads: 1, headDim: 20 },
  { heads: 4, kvHeads: 2, headDim: 32 },
  { heads: 3, kvHeads: 1, headDim: 72 },
  { heads: 4, kvHeads: 1, headDim: 80 },
  { heads: 2, kvHeads: 2, headDim: 128 },
];

/** All pairs of two lists. */
export function pairs<A, B>(as: readonly A[], bs: readonly B[]): [A, B][] {
  return as.flatMap((a) => bs.map((b): [A, B] => [a, b]));
}

/** Seeded numbers: two draws of one seed give the same, so that every backend computes the same case. */
export class Draw {
  readonly #random;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** Normally distributed f32 values (Box and Muller). */
  normal(count: number, scale = 1, mean = 0): Float32Array {
    return Float32Array.from({ length: count }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - nextFloat(this.#random)));
      return mean + scale * radius * Math.cos(2 * Math.PI * nextFloat(this.#random));
    });
  }

  /** Integers 0 ≤ i < bound. */
  integers(count: number, bound: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.integer(bound));
  }

  integer(bound: number): number {
    return Math.floor(nextFloat(this.#random) * bound);
  }

  /** 0 … count − 1 in random order (Fisher and Yates). */
  shuffled(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}

/** Cosines and sines of random angles, [tokens, headDim] as rope_write_kv reads them. */
export function randomRotary(draw: Draw, tokens: number, headDim: number): Float32Array {
  const half = headDim / 2;
  const rotary = new Float32Array(tokens * headDim);
  for (let t = 0; t < tokens; t++) {
    for (const [i, angle] of draw.normal(half, 3).entries()) {
      rotary[t * headDim + i] = Math.cos(angle);
      rotary[t * headDim + half + i] = Math.sin(angle);
    }
  }
  return rotary;
}

/** No rotation: cosine 1, sine 0. */
export function identityRotary(tokens: number, headDim: number): Float32Array {
  return Float32Array.from({ length: tokens * headDim }, (_, i) => i % headDim < headDim / 2 ? 1 : 0);
}
