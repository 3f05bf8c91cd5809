/**
 * A learned compressor: per layer three-layer networks, Linear(f·d → d) ReLU Linear(d → d) ReLU Linear(d → d), that
 * make one key (or value) of f consecutive ones of a head, d being the head's size. Heads share them.
 */
import type { StoredTensor } from "./safetensors.ts";

/** Text and image, keys and values. */
export const COMPRESSOR_KINDS = ["tk", "tv", "ik", "iv"] as const;
export type CompressorKind = typeof COMPRESSOR_KINDS[number];

/** Places of the linear layers among activations and dropouts, as checkpoints name them. */
export const COMPRESSOR_LINEARS = [0, 3, 6] as const;

/** Largest factor: what one row of a group takes is bounded, whatever a file says. */
export const FACTOR_MAX = 64;

/** Segments that make fewer groups stay as they are, where the file does not say otherwise. */
export const MIN_GROUPS_DEFAULT = 2;

/** One factor of a file. */
export interface Compressor {
  readonly factor: number;
  /** A segment that makes fewer groups than this stays as it is. */
  readonly minGroups: number;
  /** False: pictures' spans stay as they are. */
  readonly images: boolean;
  /** Weights [out, in] and biases [out] by the name without a prefix, see `compressorTensor`. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

export function compressorTensor(
  kind: CompressorKind,
  layer: number,
  linear: number,
  part: "weight" | "bias",
): string {
  return `compress_${kind}.${layer}.${linear}.${part}`;
}

/** The networks that a compressor has. */
export function kindsOf({ images }: Compressor): readonly CompressorKind[] {
  return images ? COMPRESSOR_KINDS : ["tk", "tv"];
}
