/** What a seed draws: a device, windows, limits, requests and the faults that happen to them. */
import { nextFloat, type Random } from "../../lib/core/random.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import type { Compression, ContentPart, GenerateRequest } from "../../scheduler/messages.ts";
import type { SchedulerLimits, WindowLimits, Windows } from "../../scheduler/mod.ts";
import { BAD_HEADER, BAD_PIXELS, characterOf } from "../support/scripted_text.ts";
import { scriptedFacts } from "../support/scripted_engine.ts";

export const MAX_MODEL_LEN = 64;
export const IMAGE_TOKENS = 5;

/** How a client behaves. */
export interface ClientScript {
  readonly request: GenerateRequest;
  readonly arrivalMs: number;
  /** Pause after each event; a slow reader's is long. */
  readonly readMs: number;
  /** Goes away that long after arrival, by its signal or by returning its iterator. */
  readonly leaves: { readonly afterMs: number; readonly how: "abort" | "return" } | null;
}

export interface Scenario {
  readonly facts: EngineFacts;
  readonly windows: Windows;
  readonly limits: SchedulerLimits;
  readonly clients: readonly ClientScript[];
  /** Probability that a device step fails, and that one row of it is not a number. */
  readonly failRate: number;
  readonly notFiniteRate: number;
  readonly stepMs: number;
  /** Draining begins then; null never. */
  readonly drainAtMs: number | null;
}

/** Whole numbers from `low` to `high`, both included. */
export function between(random: Random, low: number, high: number): number {
  return low + random.nextUint32() % (high - low + 1);
}

export function chance(random: Random, probability: number): boolean {
  return nextFloat(random) < probability;
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.nextUint32() % values.length];
}

/** Every seed turns on another subset of the faults, so that rare pairs of them meet. */
export function drawScenario(random: Random): Scenario {
  const pageSlots = pick(random, [2, 4, 8]);
  const layers = between(random, 1, 3);
  // From too small for the longest request up to room for several.
  const pageCount = layers * between(random, 10, 120 / pageSlots * 4);
  const facts = scriptedFacts({
    layers,
    pageSlots,
    pageCount,
    embeddingRows: between(random, 2 * IMAGE_TOKENS, 8 * IMAGE_TOKENS),
    stepTokensMax: between(random, 6, 48),
  });
  const window = (tokens: number): WindowLimits => ({
    items: between(random, 1, 8),
    tokens: between(random, 1, tokens),
    waitMs: between(random, 0, 20),
  });
  const faults = {
    cancels: chance(random, 0.5) ? 0.4 : 0,
    slow: chance(random, 0.5) ? 0.3 : 0,
    fails: chance(random, 0.3) ? 0.05 : 0,
    notFinite: chance(random, 0.3) ? 0.02 : 0,
    badPictures: chance(random, 0.3) ? 0.2 : 0,
  };
  const burst = chance(random, 0.3);
  const clients = Array.from({ length: between(random, 4, 16) }, (_, index): ClientScript => ({
    request: drawRequest(random, index, faults.badPictures),
    arrivalMs: burst ? 0 : between(random, 0, 120),
    readMs: chance(random, faults.slow) ? between(random, 10, 60) : 0,
    leaves: chance(random, faults.cancels)
      ? { afterMs: between(random, 0, 150), how: pick(random, ["abort", "return"] as const) }
      : null,
  }));
  return {
    facts,
    windows: {
      encode: window(4 * IMAGE_TOKENS),
      prefill: window(40),
      compress: window(80),
      decode: { items: between(random, 1, 8), tokens: 64, waitMs: 0 },
    },
    limits: {
      maxNumSeqs: between(random, 1, 8),
      waitingRequestsMax: between(random, 3, 20),
      streamEventsMax: between(random, 2, 12),
      decodedImagesMax: between(random, 1, 4),
    },
    clients,
    failRate: faults.fails,
    notFiniteRate: faults.notFinite,
    stepMs: between(random, 0, 5),
    drainAtMs: chance(random, 0.15) ? between(random, 10, 150) : null,
  };
}

function drawText(random: Random, length: number): string {
  return Array.from({ length }, () => characterOf(between(random, 3, 63))).join("");
}

function drawRequest(random: Random, index: number, badPictures: number): GenerateRequest {
  const pictures = chance(random, 0.4) ? between(random, 1, 3) : 0;
  const parts: ContentPart[] = [{ type: "text", text: drawText(random, between(random, 0, 20)) }];
  for (let i = 0; i < pictures; i++) {
    // Few different pictures: some are shared between requests.
    const first = chance(random, badPictures) ? pick(random, [BAD_HEADER, BAD_PIXELS]) : 0;
    const bytes = Uint8Array.of(first, between(random, 1, 4));
    parts.push({ type: "image", bytes, param: `messages[0].content[${parts.length}]` });
    parts.push({ type: "text", text: drawText(random, between(random, 0, 6)) });
  }
  const compressions: readonly (Compression | null)[] = [
    null,
    { method: "knorm", ratio: 0.5 },
    { method: "streaming", ratio: 0.8 },
    { method: "mean-pool", ratio: 0.75 },
  ];
  return {
    id: `request-${index}`,
    prompt: { kind: "chat", messages: [{ role: "user", content: parts }], param: "messages" },
    sampling: {
      temperature: 1,
      topP: 1,
      minP: 0,
      topK: 0,
      seed: [random.nextUint32(), 0],
      logprobs: chance(random, 0.2) ? 1 : null,
    },
    // Sometimes more than the context or the pool allows.
    maxTokens: chance(random, 0.2) ? null : between(random, 1, 40),
    maxTokensParam: "max_tokens",
    stop: chance(random, 0.3) ? [drawText(random, between(random, 1, 2))] : [],
    ignoreEos: chance(random, 0.5),
    compression: pick(random, compressions),
    priority: 0,
    tenant: "",
    cacheSalt: "",
  };
}
