/** The methods of this build, and what admission asks of them. */
import { chunkKv } from "./chunk_kv.ts";
import { expectedAttention } from "./expected_attention.ts";
import { h2o } from "./h2o.ts";
import { keyDiff } from "./key_diff.ts";
import { knorm } from "./knorm.ts";
import { lagKv } from "./lag_kv.ts";
import { lookM } from "./look_m.ts";
import { meanPool } from "./mean_pool.ts";
import type { Compression, Method, MethodName, PromptShape } from "./method.ts";
import type { Need } from "./need.ts";
import { none } from "./none.ts";
import { protectedCount, withoutProtected } from "./protect.ts";
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
};

/** Slots that remain per layer; the scheduler reserves that many before the method runs. */
export function keptByLayer(compression: Compression, prompt: PromptShape): Uint32Array {
  const { method, size, settings } = compression;
  const fixed = protectedCount(prompt.protect);
  const kept = METHODS[method].kept(withoutProtected(prompt), size, settings);
  return fixed === 0
    ? kept
    : kept.map((count, layer) => fixed + Math.min(count, prompt.slots[layer] - fixed));
}

/** What prefill must keep for it; null for nothing. */
export function needOf({ method, settings }: Compression): Need | null {
  return METHODS[method].need(settings);
}

/** A method with its usual settings. */
export function usualCompression(method: MethodName, ratio: number): Compression {
  const entries = Object.entries(METHODS[method].settings).map(([name, { usual }]) => [name, usual] as const);
  return { method, size: { ratio }, settings: Object.fromEntries(entries), rerotate: false, quantise: null };
}
