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

/** Spans of a prompt: its pictures, and the text between them. */
export const SPAN_KINDS = ["text", "image"] as const;
export type SpanKind = typeof SPAN_KINDS[number];

/** Networks of a kind of span: of its keys and of its values. */
export const SPAN_NETWORKS: Readonly<Record<SpanKind, readonly [CompressorKind, CompressorKind]>> = {
  text: ["tk", "tv"],
  image: ["ik", "iv"],
};

/** Slots that become one, by kind of span and by layer; 1 where such spans stay as they are. */
export type SpanFactors = Readonly<Record<SpanKind, readonly number[]>>;

/** Largest factor: what one row of a group takes is bounded, whatever a file says. */
export const FACTOR_MAX = 64;

/** Segments that make fewer groups stay as they are, where the file does not say otherwise. */
export const MIN_GROUPS_DEFAULT = 2;

/** One factor of a file. */
export interface Compressor {
  /** What a request names; `factors` say what becomes one in a layer. */
  readonly factor: number;
  /** A segment that makes fewer groups than this stays as it is. */
  readonly minGroups: number;
  readonly factors: SpanFactors;
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

/** One factor in every layer; pictures stay as they are without networks for them. */
export function uniformFactors(factor: number, layers: number, images = true): SpanFactors {
  const all = (value: number) => new Array<number>(layers).fill(value);
  return { text: all(factor), image: all(images ? factor : 1) };
}

/** Why no prompt can come to `factor` on the whole with these; null where one may. */
export function whyOutOfReach(factor: number, { text, image }: SpanFactors): string | null {
  const least = Math.min(...text, ...image), most = Math.max(...text, ...image);
  if (factor >= least && factor <= most) return null;
  return least === most ? `${most} become one everywhere` : `${least} to ${most} become one`;
}
