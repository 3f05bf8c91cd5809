/** What the server chose by itself, as the lines that `start` prints. */
import type { EngineFacts } from "../engine/engine.ts";
import type { Compression } from "../../scheduler/messages.ts";
import { keepPages, keptOf } from "../../scheduler/compression.ts";
import { packingOf, packRule } from "../../scheduler/packing.ts";
import { type Policy, policyText } from "../../scheduler/policy.ts";
import { completionTokensMax } from "../../scheduler/room.ts";
import type { Windows } from "../../scheduler/window.ts";

export interface Chosen {
  readonly facts: EngineFacts;
  readonly modelName: string;
  readonly architecture: string;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  /** null: as many as fit. */
  readonly defaultMaxTokens: number | null;
  /** Of requests that name none. */
  readonly compression: Compression | null;
  readonly windows: Windows;
  readonly policy: Policy;
  readonly itlTargetMs: number;
  readonly prefixCache: boolean;
  /** Every request has one run of pages. */
  readonly contiguous: boolean;
  readonly loadMs: number;
}

/** Tokens that the pool holds when every layer keeps all of them. */
export function poolTokens(facts: EngineFacts): number {
  return Math.floor(facts.pageCount / facts.layers) * facts.pageSlots;
}

/** The longest prompt, in whole pages, that the pool holds together with its compressed copy. */
export function compressibleTokens(facts: EngineFacts, compression: Compression): number {
  let tokens = poolTokens(facts);
  while (tokens > 0 && completionOf(facts, compression, tokens) < 1) {
    tokens -= facts.pageSlots;
  }
  return tokens;
}

function completionOf(facts: EngineFacts, compression: Compression, tokens: number): number {
  const kept = keptOf(compression, tokens, facts.layers, []);
  if (kept === null) return completionTokensMax(facts, tokens, null, 0);
  const packing = packingOf(packRule(compression, facts), kept);
  return completionTokensMax(facts, tokens, kept, keepPages(compression, tokens, facts), packing);
}

export function chosenLines(o: Chosen): string[] {
  const { facts } = o;
  const windows = Object.entries(o.windows)
    .map(([stage, window]) => `${stage} ${window.items}:${window.tokens}:${window.waitMs}`);
  return [
    device(facts),
    `model: ${o.modelName} (${o.architecture}), loaded in ${(o.loadMs / 1000).toFixed(1)} s`,
    `KV pool: ${size(facts.pageCount * facts.pageBytes)}, ${poolTokens(facts)} tokens in ${facts.kvDtype}${
      o.contiguous ? ", one run a request" : ""
    }${copies(o)}`,
    `longest context: ${o.maxModelLen} tokens; default max_tokens: ${
      o.defaultMaxTokens ?? "what fits"
    }; sequences at one time: ${o.maxNumSeqs}`,
    `policy: ${policyText(o.policy)}, inter-token latency target ${o.itlTargetMs} ms; prefix cache ${
      o.prefixCache ? "on" : "off"
    }${o.contiguous ? ", for a contiguous pool shares nothing" : ""}`,
    `largest batches (items:tokens:wait ms): ${windows.join(", ")}`,
  ];
}

function device(facts: EngineFacts): string {
  if (facts.backend === "wasm") return `device: ${facts.adapter}${features(facts)}`;
  return `adapter: ${facts.adapter}${facts.software ? " (software)" : ""}, ${facts.backend}${
    features(facts)
  }`;
}

/** What compression by default makes of the pool: prompt and copy are held at one moment. */
function copies({ facts, compression }: Chosen): string {
  if (compression === null) return "";
  const { method, size: asked, quantise, underPressure } = compression;
  const shorter = "ratio" in asked ? `${method}:${asked.ratio}` : `${method} with ${asked.budget} slots`;
  const codes = quantise === null ? [] : [`int${quantise.bits}`];
  const name = (method === "none" ? codes : [shorter, ...codes]).join(":");
  if (underPressure) return `; when it pays or memory is short ${name} makes room`;
  return `; a prompt of ${compressibleTokens(facts, compression)} fits with its copy by ${name}`;
}

function features(facts: EngineFacts): string {
  return facts.features.length === 0 ? "" : `, ${facts.features.join(", ")}`;
}

/** Bytes in the largest binary unit that leaves at least 1. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${(bytes / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}
