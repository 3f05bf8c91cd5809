/** What the server chose by itself, as the lines that `start` prints. */
import type { EngineFacts } from "../engine/engine.ts";
import type { Windows } from "../../scheduler/window.ts";

export interface Chosen {
  readonly facts: EngineFacts;
  readonly modelName: string;
  readonly architecture: string;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  /** null: as many as fit. */
  readonly defaultMaxTokens: number | null;
  readonly windows: Windows;
  readonly loadMs: number;
}

/** Tokens that the pool holds when every layer keeps all of them. */
export function poolTokens(facts: EngineFacts): number {
  return Math.floor(facts.pageCount / facts.layers) * facts.pageSlots;
}

export function chosenLines(o: Chosen): string[] {
  const { facts } = o;
  const windows = Object.entries(o.windows)
    .map(([stage, window]) => `${stage} ${window.items}:${window.tokens}:${window.waitMs}`);
  return [
    `adapter: ${facts.adapter}${facts.software ? " (software)" : ""}, ${facts.backend}${features(facts)}`,
    `model: ${o.modelName} (${o.architecture}), loaded in ${(o.loadMs / 1000).toFixed(1)} s`,
    `KV pool: ${size(facts.pageCount * facts.pageBytes)}, ${poolTokens(facts)} tokens in ${facts.kvDtype}`,
    `longest context: ${o.maxModelLen} tokens; default max_tokens: ${
      o.defaultMaxTokens ?? "what fits"
    }; sequences at one time: ${o.maxNumSeqs}`,
    `windows (items:tokens:wait ms): ${windows.join(", ")}`,
  ];
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
