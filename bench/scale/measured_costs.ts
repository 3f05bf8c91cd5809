/**
 * What steps cost on this machine, from measured ones. Its processor works on prompts and pictures as long as they are large,
 * however they are batched; and longer beside a decode batch, whose tokens are written to their clients meanwhile. What a
 * request takes beside its steps grows with the batch too: every hop between threads waits for a core.
 */
import type { StepCosts } from "./costs.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface MeasuredCurves {
  /** Milliseconds of a picture and of a prompt token, by the sequences of the decode step before; in the order of x. */
  readonly encode: readonly Point[];
  readonly prefill: readonly Point[];
  /** Milliseconds of a step, by its sequences. */
  readonly decode: readonly Point[];
  /** Milliseconds of a request outside its steps and its waits for them, by the sequences of the decode step before. */
  readonly overhead: readonly Point[];
  /** Between two steps. */
  readonly gapMs: number;
}

/** What one loop's steps came to. */
export interface StageSteps {
  readonly steps: number;
  /** Pictures of encode, tokens of prefill, sequences of decode. */
  readonly units: number;
  readonly ms: number;
}

/** A closed loop, or several of as many clients. */
export interface LoopSteps {
  readonly clients: number;
  readonly encode: StageSteps;
  readonly prefill: StageSteps;
  readonly decode: StageSteps;
  /** Answered, and what they took outside their steps and their waits for them, together. */
  readonly requests: number;
  readonly overheadMs: number;
  /** Of the whole loop. */
  readonly ms: number;
}

/** So many clients leave the device idle for lack of requests no more: gaps between its steps are its own. */
const BUSY_CLIENTS = 4;

/** Straight between the points, level before the first, and beyond the last as between the last two, but never falling. */
export function valueAt(points: readonly Point[], x: number): number {
  const next = points.findIndex((point) => point.x > x);
  if (next === 0 || points.length === 1) return points[0].y;
  const beyond = next < 0;
  const [a, b] = points.slice(beyond ? points.length - 2 : next - 1);
  const slope = (b.y - a.y) / (b.x - a.x);
  return beyond ? b.y + Math.max(0, slope) * (x - b.x) : a.y + slope * (x - a.x);
}

function added(a: StageSteps, b: StageSteps): StageSteps {
  return { steps: a.steps + b.steps, units: a.units + b.units, ms: a.ms + b.ms };
}

/** One loop for each number of clients. */
function pooled(loops: readonly LoopSteps[]): LoopSteps[] {
  const byClients = new Map<number, LoopSteps>();
  for (const loop of loops) {
    const sum = byClients.get(loop.clients);
    byClients.set(
      loop.clients,
      sum === undefined ? loop : {
        clients: loop.clients,
        encode: added(sum.encode, loop.encode),
        prefill: added(sum.prefill, loop.prefill),
        decode: added(sum.decode, loop.decode),
        requests: sum.requests + loop.requests,
        overheadMs: sum.overheadMs + loop.overheadMs,
        ms: sum.ms + loop.ms,
      },
    );
  }
  return [...byClients.values()];
}

/** Every loop has steps of all three stages. */
export function fitSteps(loops: readonly LoopSteps[]): MeasuredCurves {
  const beside = ({ decode }: LoopSteps) => decode.units / decode.steps;
  const sorted = pooled(loops).sort((a, b) => beside(a) - beside(b));
  const curve = (y: (loop: LoopSteps) => number) => sorted.map((loop) => ({ x: beside(loop), y: y(loop) }));
  const busy = sorted.filter(({ clients }) => clients >= BUSY_CLIENTS);
  const sum = (read: (loop: LoopSteps) => number) => busy.reduce((total, loop) => total + read(loop), 0);
  const steps = sum(({ encode, prefill, decode }) => encode.steps + prefill.steps + decode.steps);
  const idleMs = sum(({ ms, encode, prefill, decode }) => ms - encode.ms - prefill.ms - decode.ms);
  return {
    encode: curve(({ encode }) => encode.ms / encode.units),
    prefill: curve(({ prefill }) => prefill.ms / prefill.units),
    decode: curve(({ decode }) => decode.ms / decode.steps),
    overhead: curve(({ overheadMs, requests }) => overheadMs / requests),
    gapMs: steps === 0 ? 0 : Math.max(0, idleMs / steps),
  };
}

/** Costs of one simulation: they remember the decode step before. `overheadMs` is that of a request at this moment. */
export function measuredCosts(curves: MeasuredCurves): { costs: StepCosts; overheadMs: () => number } {
  const { encode, prefill, decode, overhead, gapMs } = curves;
  let beside = 0;
  const costs: StepCosts = {
    encode: (images) => gapMs + images.length * valueAt(encode, beside),
    forward(sequences) {
      const prompts = sequences.filter(({ tokens }) => tokens.length > 1);
      const tokens = prompts.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
      const decoding = sequences.length - prompts.length;
      const ms = gapMs + tokens * valueAt(prefill, beside) +
        (decoding === 0 ? 0 : valueAt(decode, decoding));
      if (decoding > 0) beside = decoding;
      return ms;
    },
    compress: () => 0,
  };
  return { costs, overheadMs: () => valueAt(overhead, beside) };
}
