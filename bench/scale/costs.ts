/** What a step costs, in milliseconds: from a device's peak rates, or from measured steps. */
import type { CompressSequence, EncodeImage, ForwardSequence } from "../../lib/engine/engine.ts";
import type { ModelConfig } from "../../lib/model/config.ts";

export interface StepCosts {
  encode(images: readonly EncodeImage[]): number;
  forward(sequences: readonly ForwardSequence[]): number;
  compress(sequences: readonly CompressSequence[]): number;
}

export interface Device {
  readonly name: string;
  /** Dense f16, 10¹² operations a second. */
  readonly teraflops: number;
  /** 10⁹ bytes a second. */
  readonly gigabytesPerSecond: number;
  readonly memoryBytes: number;
}

/** Peak rates as their makers publish them. */
export const DEVICES = {
  h100: { name: "H100 SXM 80 GB", teraflops: 989, gigabytesPerSecond: 3350, memoryBytes: 80e9 },
  rtx4090: { name: "RTX 4090 24 GB", teraflops: 165, gigabytesPerSecond: 1008, memoryBytes: 24e9 },
  orin: { name: "Jetson AGX Orin 64 GB", teraflops: 42.5, gigabytesPerSecond: 204.8, memoryBytes: 64e9 },
} as const satisfies Record<string, Device>;
export type DeviceName = keyof typeof DEVICES;

/** Shares of the peaks that good kernels reach, and what a step costs before any arithmetic. */
const COMPUTE_SHARE = 0.5;
const BANDWIDTH_SHARE = 0.7;
const STEP_MS = 2;
const F16_BYTES = 2;

/** Multiply-adds of a picture's tower and projector count two operations a weight and token. */
function towerWeights({ vision, text }: ModelConfig): number {
  if (vision === null) return 0;
  const { hidden, intermediate } = vision;
  const layers = Math.max(...vision.featureLayers);
  return layers * (4 * hidden * hidden + 2 * hidden * intermediate) +
    hidden * text.hidden + text.hidden * text.hidden;
}

function decoderWeights({ text }: ModelConfig): number {
  const { hidden, intermediate, heads, kvHeads, headDim, layers, vocab } = text;
  const attention = hidden * headDim * (2 * heads + 2 * kvHeads);
  return layers * (attention + 3 * hidden * intermediate) + vocab * hidden;
}

export function kvBytesPerToken({ text }: ModelConfig): number {
  return 2 * text.layers * text.kvHeads * text.headDim * F16_BYTES;
}

export function weightBytes(config: ModelConfig): number {
  return F16_BYTES * (decoderWeights(config) + towerWeights(config));
}

/** The larger of the time for the arithmetic and the time for the bytes. */
export function rooflineCosts(device: Device, config: ModelConfig): StepCosts {
  const { text } = config;
  const timeMs = (operations: number, bytes: number) =>
    STEP_MS + 1000 * Math.max(
        operations / (device.teraflops * 1e12 * COMPUTE_SHARE),
        bytes / (device.gigabytesPerSecond * 1e9 * BANDWIDTH_SHARE),
      );
  const decoder = decoderWeights(config), tower = towerWeights(config), kvBytes = kvBytesPerToken(config);
  return {
    encode: (images) => {
      const tokens = images.reduce((sum, { embeddingRows }) => sum + embeddingRows, 0);
      return timeMs(2 * tower * tokens, F16_BYTES * tower);
    },
    forward: (sequences) => {
      let tokens = 0, read = 0, attention = 0;
      for (const sequence of sequences) {
        const count = sequence.tokens.length, stored = sequence.slotBase[0];
        tokens += count;
        read += stored + count;
        // Scores and weighted values: four operations a head dimension, query and key; a causal chunk sees half of itself.
        attention += 4 * text.layers * text.heads * text.headDim * count * (stored + count / 2);
      }
      return timeMs(2 * decoder * tokens + attention, F16_BYTES * decoder + kvBytes * read);
    },
    compress: (sequences) => {
      const slots = sequences.reduce((sum, { slots, kept }) => sum + slots[0] + kept[0], 0);
      return timeMs(0, kvBytes * slots);
    },
  };
}

/** `base` a step and `each` a unit: pictures of encode, tokens of prefill, sequences of decode and compress. */
export interface Line {
  readonly base: number;
  readonly each: number;
}
export type Lines = Readonly<Record<"encode" | "prefill" | "decode" | "compress", Line>>;

export function linearCosts(lines: Lines): StepCosts {
  const at = ({ base, each }: Line, units: number) => base + each * units;
  return {
    encode: (images) => at(lines.encode, images.length),
    forward(sequences) {
      const prompts = sequences.filter(({ tokens }) => tokens.length > 1);
      const tokens = prompts.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
      return (prompts.length === 0 ? 0 : at(lines.prefill, tokens)) +
        (prompts.length === sequences.length ? 0 : at(lines.decode, sequences.length - prompts.length));
    },
    compress: (sequences) => at(lines.compress, sequences.length),
  };
}

/** Steps of one stage under one load: how many, how many units in all, and their time. */
export interface Measured {
  readonly steps: number;
  readonly units: number;
  readonly ms: number;
}

/** The line that fits the mean step of each load best, every load weighing by its steps; never negative. */
export function fitLine(loads: readonly Measured[]): Line {
  const points = loads.filter(({ steps }) => steps > 0).map(({ steps, units, ms }) => ({
    weight: steps,
    x: units / steps,
    y: ms / steps,
  }));
  const weight = points.reduce((sum, point) => sum + point.weight, 0);
  if (weight === 0) return { base: 0, each: 0 };
  const meanX = points.reduce((sum, { weight, x }) => sum + weight * x, 0) / weight;
  const meanY = points.reduce((sum, { weight, y }) => sum + weight * y, 0) / weight;
  const spread = points.reduce((sum, { weight, x }) => sum + weight * (x - meanX) ** 2, 0);
  const slope = spread === 0
    ? 0
    : points.reduce((sum, { weight, x, y }) => sum + weight * (x - meanX) * (y - meanY), 0) / spread;
  const each = Math.min(Math.max(0, slope), meanY / meanX);
  return { base: meanY - each * meanX, each };
}
