/** What a step costs, in milliseconds: from a device's peak rates, or from measured steps. */
import type { CompressSequence, EncodeImage, ForwardSequence } from "../../lib/engine/engine.ts";
import type { ModelConfig } from "../../lib/model/config.ts";

/** Sequences of one length in every layer. */
export interface StepCosts {
  encode(images: readonly Pick<EncodeImage, "embeddingRows">[]): number;
  forward(sequences: readonly Pick<ForwardSequence, "tokens" | "slotBase">[]): number;
  compress(sequences: readonly Pick<CompressSequence, "slots" | "kept">[]): number;
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
        const count = sequence.tokens.length, stored = mean(sequence.slotBase);
        tokens += count;
        read += stored + count;
        // Scores and weighted values: four operations a head dimension, query and key; a causal chunk sees half of itself.
        attention += 4 * text.layers * text.heads * text.headDim * count * (stored + count / 2);
      }
      return timeMs(2 * decoder * tokens + attention, F16_BYTES * decoder + kvBytes * read);
    },
    compress: (sequences) => {
      const slots = sequences.reduce((sum, { slots, kept }) => sum + mean(slots) + mean(kept), 0);
      return timeMs(0, kvBytes * slots);
    },
  };
}

/** Of a number by layer. */
function mean(values: Uint32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
