/** How long the scripted device takes: a fixed part a call, a part a member and a part a token, drawn per seed. */
import type { Random } from "../../lib/core/random.ts";
import type { ScriptedCall } from "../support/scripted_engine.ts";
import { chance, within } from "./draw.ts";

export interface CallCost {
  readonly fixedMs: number;
  readonly itemMs: number;
  readonly tokenMs: number;
}

export interface DeviceCosts extends Readonly<Record<ScriptedCall, CallCost>> {
  /** Decoding of one picture's file, off the device. */
  readonly prepareMs: number;
}

/** A slot that a step attends to takes as long as so many tokens. */
export const SLOT_TOKENS = 0.25;

/** A call in so many takes much longer than its cost: the driver compiles, another program has the device. */
const STALL_CHANCE = 0.01;
const STALL_FACTOR = 8;

function drawCost(random: Random, scaleMs: number): CallCost {
  return {
    fixedMs: within(random, 0, scaleMs),
    itemMs: within(random, 0, scaleMs / 4),
    tokenMs: within(random, 0, scaleMs / 16),
  };
}

/** From a device that answers at once to one that takes tens of milliseconds a step. */
export function drawCosts(random: Random): DeviceCosts {
  const scaleMs = chance(random, 0.15) ? 0 : within(random, 1, 12);
  return {
    encode: drawCost(random, 2 * scaleMs),
    forward: drawCost(random, scaleMs),
    compress: drawCost(random, scaleMs),
    prepareMs: within(random, 0, 2 * scaleMs),
  };
}

/** What one call takes this time. */
export function callMs(random: Random, cost: CallCost, items: number, tokens: number): number {
  const ms = cost.fixedMs + items * cost.itemMs + tokens * cost.tokenMs;
  return ms * within(random, 0.5, 1.5) * (chance(random, STALL_CHANCE) ? STALL_FACTOR : 1);
}

/** What one call can take at most. */
export function callMsMax(cost: CallCost, items: number, tokens: number): number {
  return (cost.fixedMs + items * cost.itemMs + tokens * cost.tokenMs) * 1.5 * STALL_FACTOR;
}
