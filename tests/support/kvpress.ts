/** What kvpress keeps and continues with (tests/fixtures/kvpress): numbers made with the fixture llama-text-tiny. */
import type { Compression, MethodName } from "../../lib/engine/compress/method.ts";
import type { KvBits } from "../../lib/ops/kv.ts";
import { parseCompression } from "../../lib/engine/compress/settings.ts";

const FOLDER = new URL("../fixtures/kvpress/", import.meta.url).pathname;

export interface Continuation {
  readonly first_token_id: number;
  readonly position_ids: readonly number[];
  readonly token_ids: readonly number[];
  readonly margins: readonly number[];
  readonly top: readonly (readonly (readonly [id: number, logprob: number])[])[];
}

export interface GoldenPrompt {
  readonly id: string;
  readonly prompt_token_ids: readonly number[];
  readonly uncompressed_continuation: Continuation;
}

/** Tables are [layer][KV head]. */
export interface GoldenCase {
  readonly id: string;
  readonly prompt: string;
  readonly method: string;
  readonly compression_ratio: number;
  readonly cache_length: readonly number[];
  readonly kept: readonly (readonly (readonly number[])[])[];
  readonly undecided: readonly (readonly (readonly number[])[])[];
  readonly continuation: Continuation;
}

interface Press {
  readonly press: string | Press;
  readonly [setting: string]: unknown;
}

interface Goldens {
  readonly prompts: readonly GoldenPrompt[];
  readonly methods: readonly { readonly name: string; readonly settings: Press }[];
  readonly cases: readonly GoldenCase[];
}

/** Our names of kvpress' classes. */
const NAMES: Readonly<Record<string, MethodName>> = {
  StreamingLLMPress: "streaming",
  KnormPress: "knorm",
  KeyDiffPress: "keydiff",
  LagKVPress: "lagkv",
  SnapKVPress: "snapkv",
  TOVAPress: "tova",
  PyramidKVPress: "pyramidkv",
  ExpectedAttentionPress: "expected-attention",
  ObservedAttentionPress: "h2o",
};

export const GOLDENS = JSON.parse(Deno.readTextFileSync(`${FOLDER}goldens.json`)) as Goldens;

export interface QuantisedCase {
  readonly id: string;
  readonly prompt: string;
  readonly bits: KvBits;
  readonly tail: "float" | "group";
  readonly continuation: Continuation;
}

/** All slots kept and packed: reference arithmetic in the style of KIVI. */
export const QUANTISED =
  (JSON.parse(Deno.readTextFileSync(`${FOLDER}quantised.json`)) as { cases: readonly QuantisedCase[] }).cases;

export function goldenPrompt(id: string): GoldenPrompt {
  return GOLDENS.prompts.find((prompt) => prompt.id === id)!;
}

/** A case's method as a request would name it. */
export function compressionOfCase({ method, compression_ratio: ratio }: GoldenCase): Compression {
  const { press, ...settings } = GOLDENS.methods.find(({ name }) => name === method)!.settings;
  const { press: inner, ...innerSettings } = typeof press === "string" ? { press } : press;
  const parsed = parseCompression({
    method: "chunk_length" in settings ? "chunkkv" : NAMES[inner as string],
    ratio,
    ...settings,
    ...innerSettings,
    rerotate: method.endsWith("-rerotated"),
  });
  if (!parsed.ok) throw new Error(`${method}: ${parsed.problem.message}`);
  return parsed.compression;
}
