/** The methods of this build, and what admission asks of them. */
import { chunkKv } from "./chunk_kv.ts";
import { expectedAttention } from "./expected_attention.ts";
import { h2o } from "./h2o.ts";
import { keyDiff } from "./key_diff.ts";
import { knorm } from "./knorm.ts";
import { lagKv } from "./lag_kv.ts";
import { learned } from "./learned.ts";
import { lookM } from "./look_m.ts";
import { meanPool } from "./mean_pool.ts";
import type { Compression, Method, MethodName, PromptShape } from "./method.ts";
import type { Need } from "./need.ts";
import { none } from "./none.ts";
import { pyramidKv } from "./pyramid_kv.ts";
import { random } from "./random.ts";
import { snapKv } from "./snap_kv.ts";
import { streaming } from "./streaming.ts";
import { tova } from "./tova.ts";

export const METHODS: Readonly<Record<MethodName, Method>> = {
  none,
  streaming,
  random,
  "mean-pool": meanPool,
  knorm,
  keydiff: keyDiff,
  lagkv: lagKv,
  snapkv: snapKv,
  tova,
  pyramidkv: pyramidKv,
  "expected-attention": expectedAttention,
  h2o,
  chunkkv: chunkKv,
  "look-m": lookM,
  learned,
};

/** Slots that remain per layer; the scheduler reserves that many before the method runs. */
export function keptByLayer(compression: Compression, prompt: PromptShape): Uint32Array {
  const { method, size, settings } = compression;
  return METHODS[method].kept(prompt, size, settings);
}

/** What prefill must keep for it; null for nothing. */
export function needOf({ method, settings }: Compression): Need | null {
  return METHODS[method].need(settings);
}

/** Methods that a request may name through the API: those that ask nothing of prefill. */
export const COMPRESSION_METHODS = ["streaming", "knorm", "mean-pool"] as const;
export type CompressionMethod = typeof COMPRESSION_METHODS[number];

/** A method with its usual settings. */
export function usualCompression(method: MethodName, ratio: number): Compression {
  const entries = Object.entries(METHODS[method].settings).map(([name, { usual }]) => [name, usual] as const);
  return { method, size: { ratio }, settings: Object.fromEntries(entries), rerotate: false, quantise: null };
}

/** Why `ratio` does not fit `method`, or null. */
export function ratioProblem(method: CompressionMethod, ratio: number): string | null {
  if (!(ratio > 0 && ratio < 1)) return `ratio must be above 0 and below 1, got ${ratio}`;
  return METHODS[method].sizeProblem({ ratio });
}

/** Slots that remain of `slots` stored ones in each layer, with usual settings. */
export function keptSlots(method: CompressionMethod, ratio: number, slots: number): number {
  return keptByLayer(usualCompression(method, ratio), { slots: Uint32Array.of(slots), images: [] })[0];
}
