/** What a seed draws of the world: a device, windows, limits, who comes how often, and which faults can happen. */
import type { Random } from "../../lib/core/random.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import type { SchedulerLimits, WindowLimits, Windows } from "../../scheduler/mod.ts";
import { DYNAMIC, type Policy } from "../../scheduler/policy.ts";
import { scriptedFacts } from "../support/scripted_engine.ts";
import { type DeviceCosts, drawCosts } from "./costs.ts";
import { between, chance, pick, within } from "./draw.ts";

export const MAX_MODEL_LEN = 64;
export const IMAGE_TOKENS = 5;

/** More than all requests of a world together. */
export const WAITING_TOKENS_UNBOUNDED = 1e6;

/** How the busy part of a world ends. Afterwards nobody comes any more and everything must end. */
export const ENDINGS = ["calm", "drain", "close", "device lost"] as const;
export type Ending = typeof ENDINGS[number];

/** Shares of requests, calls and rows that a fault happens to. */
export interface FaultRates {
  readonly leaves: number;
  readonly slow: number;
  readonly stops: number;
  readonly badPictures: number;
  readonly limits: number;
  readonly failedCalls: number;
  readonly notFiniteRows: number;
}

/** How requests come. */
export interface Arrivals {
  /** Mean gap between two arrivals, as a multiple of what one request costs the device. */
  readonly gapFactor: number;
  /** Share of arrivals that bring company, and how much of it. */
  readonly bursts: number;
  readonly burstMax: number;
  /** Nobody comes while so many are there: keeps a world that cannot keep up small. */
  readonly clientsMax: number;
}

/** Sizes of requests that are not about a limit. */
export interface RequestSizes {
  readonly textTokensMax: number;
  readonly maxTokensMin: number;
  readonly maxTokensMax: number;
  /**
   * After so many answers of one token come so many of any length, and so on: the scheduler learns to expect short ones,
   * admits more than its memory holds, and is wrong. Null: never.
   */
  readonly surge: { readonly short: number; readonly long: number } | null;
  /** Different pictures in the world. */
  readonly pictures: number;
}

/** Who the requests are from, and what they have in common. */
export interface Mixture {
  readonly tenants: number;
  readonly salts: number;
  /** Priorities from minus that number up to it. */
  readonly priorities: number;
  /** Texts that prompts begin with, and the share of prompts that do. */
  readonly prefixes: number;
  readonly prefixed: number;
}

export interface Scenario {
  readonly facts: EngineFacts;
  readonly policy: Policy;
  readonly itlTargetMs: number;
  readonly prefixCache: boolean;
  /** Every sequence reserves one run of pages; never drawn. */
  readonly contiguous: boolean;
  readonly costs: DeviceCosts;
  readonly windows: Windows;
  readonly limits: Required<SchedulerLimits>;
  readonly arrivals: Arrivals;
  readonly sizes: RequestSizes;
  readonly mixture: Mixture;
  readonly faults: FaultRates;
  readonly ending: Ending;
  /** Time that a drain gives to running requests. */
  readonly drainMs: number;
}

/** Every seed turns on another subset of the faults, so that rare pairs of them meet. */
function drawFaults(random: Random): FaultRates {
  const rate = (probability: number, value: number) => chance(random, probability) ? value : 0;
  return {
    leaves: rate(0.6, 0.4),
    slow: rate(0.5, 0.3),
    stops: rate(0.3, 0.1),
    badPictures: rate(0.3, 0.2),
    limits: rate(0.5, 0.15),
    failedCalls: rate(0.4, 0.04),
    notFiniteRows: rate(0.3, 0.01),
  };
}

/** Mostly the product's; the others share all of its parts but the choice itself. */
function drawPolicy(random: Random): Policy {
  if (chance(random, 0.75)) return DYNAMIC;
  if (chance(random, 0.5)) return { kind: "fcfs" };
  return {
    kind: "static",
    prefill: between(random, 1, 4),
    compress: between(random, 1, 4),
    decode: between(random, 1, 8),
  };
}

function drawFacts(random: Random): EngineFacts {
  const pageSlots = pick(random, [2, 4, 8]);
  const layers = between(random, 1, 3);
  const longest = Math.ceil(MAX_MODEL_LEN / pageSlots);
  // From a few pages, through too few for the longest request, up to room for several.
  const pagesOfLayer = chance(random, 0.15)
    ? between(random, 2, 6)
    : between(random, Math.ceil(longest / 2), 4 * longest);
  return scriptedFacts({
    layers,
    pageSlots,
    pageCount: layers * pagesOfLayer,
    embeddingRows: between(random, 2 * IMAGE_TOKENS, 8 * IMAGE_TOKENS),
    stepTokensMax: between(random, 6, 48),
  });
}

export function drawScenario(random: Random): Scenario {
  const drawn = drawCalmly(random);
  return chance(random, 0.25) ? withSurges(random, drawn) : drawn;
}

/** Many seats, long answers, and a pool that holds a few of them. */
function withSurges(random: Random, drawn: Scenario): Scenario {
  const { facts } = drawn;
  const slotsMax = between(random, MAX_MODEL_LEN, 2 * MAX_MODEL_LEN);
  return {
    ...drawn,
    facts: { ...facts, pageCount: facts.layers * Math.ceil(slotsMax / facts.pageSlots) },
    limits: { ...drawn.limits, maxNumSeqs: between(random, 4, 8), waitingRequestsMax: 20 },
    windows: { ...drawn.windows, decode: { items: 8, tokens: 64, waitMs: 0 } },
    arrivals: { ...drawn.arrivals, gapFactor: within(random, 0.4, 0.8) },
    faults: { ...drawn.faults, leaves: 0.3 },
    sizes: {
      ...drawn.sizes,
      textTokensMax: between(random, 4, 20),
      maxTokensMin: 20,
      maxTokensMax: 40,
      surge: { short: between(random, 40, 70), long: between(random, 8, 20) },
    },
  };
}

function drawCalmly(random: Random): Scenario {
  const window = (tokens: number): WindowLimits => ({
    items: between(random, 1, 8),
    tokens: between(random, 1, tokens),
    waitMs: between(random, 0, 20),
  });
  const waitingRequestsMax = between(random, 3, 20);
  const maxNumSeqs = between(random, 1, 8);
  const facts = drawFacts(random);
  const slotsMax = facts.pageCount / facts.layers * facts.pageSlots;
  return {
    facts,
    policy: drawPolicy(random),
    itlTargetMs: between(random, 2, 200),
    prefixCache: chance(random, 0.85),
    contiguous: false,
    costs: drawCosts(random),
    windows: {
      encode: window(4 * IMAGE_TOKENS),
      prefill: window(40),
      compress: window(80),
      decode: { items: between(random, 1, 8), tokens: 64, waitMs: 0 },
    },
    limits: {
      maxNumSeqs,
      waitingRequestsMax,
      waitingTokensMax: chance(random, 0.2) ? between(random, 30, 200) : WAITING_TOKENS_UNBOUNDED,
      queueTimeoutMs: chance(random, 0.3) ? between(random, 20, 2_000) : null,
      readerTimeoutMs: chance(random, 0.5) ? between(random, 20, 600) : null,
      streamEventsMax: between(random, 2, 12),
      decodedImagesMax: between(random, 1, 4),
    },
    arrivals: {
      gapFactor: within(random, 0.5, 4),
      bursts: chance(random, 0.5) ? 0.1 : 0,
      burstMax: between(random, 2, waitingRequestsMax + maxNumSeqs + 4),
      clientsMax: waitingRequestsMax + maxNumSeqs + 3,
    },
    // Most requests fit, whatever the pool.
    sizes: {
      textTokensMax: Math.min(20, Math.ceil(slotsMax / 2)),
      maxTokensMin: 1,
      maxTokensMax: Math.min(40, Math.ceil(0.8 * slotsMax)),
      surge: null,
      pictures: pick(random, [2, 4, 20]),
    },
    mixture: {
      tenants: between(random, 1, 3),
      salts: between(random, 1, 2),
      priorities: chance(random, 0.4) ? 1 : 0,
      prefixes: between(random, 1, 3),
      prefixed: pick(random, [0, 0.4, 0.8]),
    },
    faults: drawFaults(random),
    ending: chance(random, 0.4) ? pick(random, ENDINGS) : "calm",
    drainMs: between(random, 0, 200),
  };
}
