/**
 * What steps cost on this machine, from measured ones. Its processor works on prompts and pictures as long as they are large,
 * however they are batched; and longer beside a large decode batch, whose tokens are written to their clients meanwhile.
 */
import type { StepCosts } from "./costs.ts";

export interface Line {
  readonly base: number;
  readonly each: number;
}

export interface MeasuredLines {
  /** Milliseconds of a picture and of a prompt token, by the sequences of the decode step before. */
  readonly encode: Line;
  readonly prefill: Line;
  /** Milliseconds of a step, by its sequences. */
  readonly decode: Line;
  /** Between two steps. */
  readonly gapMs: number;
}

/** What one load's steps came to. */
export interface StageSteps {
  readonly steps: number;
  /** Pictures of encode, tokens of prefill, sequences of decode. */
  readonly units: number;
  readonly ms: number;
}
export interface LoadSteps {
  readonly encode: StageSteps;
  readonly prefill: StageSteps;
  readonly decode: StageSteps;
  /** Of the whole load. */
  readonly ms: number;
  /** A client alone leaves the device idle between its requests: its gaps are not the device's. */
  readonly alone: boolean;
}

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly weight: number;
}

/** The line that is nearest to the points, each as heavy as its weight; never negative. */
export function fitLine(points: readonly Point[]): Line {
  const weight = points.reduce((sum, point) => sum + point.weight, 0);
  if (weight === 0) return { base: 0, each: 0 };
  const meanX = points.reduce((sum, { weight, x }) => sum + weight * x, 0) / weight;
  const meanY = points.reduce((sum, { weight, y }) => sum + weight * y, 0) / weight;
  const spread = points.reduce((sum, { weight, x }) => sum + weight * (x - meanX) ** 2, 0);
  const slope = spread === 0
    ? 0
    : points.reduce((sum, { weight, x, y }) => sum + weight * (x - meanX) * (y - meanY), 0) / spread;
  const each = Math.min(Math.max(0, slope), meanY / meanX);
  return { base: meanY - each * meanX, each };
}

export function fitSteps(loads: readonly LoadSteps[]): MeasuredLines {
  const beside = ({ decode }: LoadSteps) => decode.steps === 0 ? 0 : decode.units / decode.steps;
  const lineOf = (stage: "encode" | "prefill") =>
    fitLine(
      loads.filter((load) => load[stage].units > 0).map((load) => ({
        x: beside(load),
        y: load[stage].ms / load[stage].units,
        weight: load[stage].steps,
      })),
    );
  const busy = loads.filter(({ alone }) => !alone);
  const sum = (read: (load: LoadSteps) => number) => busy.reduce((total, load) => total + read(load), 0);
  const steps = sum(({ encode, prefill, decode }) => encode.steps + prefill.steps + decode.steps);
  const idleMs = sum(({ ms, encode, prefill, decode }) => ms - encode.ms - prefill.ms - decode.ms);
  return {
    encode: lineOf("encode"),
    prefill: lineOf("prefill"),
    decode: fitLine(
      loads.filter(({ decode }) => decode.steps > 0).map(({ decode }) => ({
        x: decode.units / decode.steps,
        y: decode.ms / decode.steps,
        // Loads count alike: one client's decode steps are the most, and the least like those of a crowd.
        weight: 1,
      })),
    ),
    gapMs: steps === 0 ? 0 : Math.max(0, idleMs / steps),
  };
}

/** Costs of one simulation: they remember the decode step before. */
export function measuredCosts({ encode, prefill, decode, gapMs }: MeasuredLines): StepCosts {
  let beside = 0;
  const at = ({ base, each }: Line, x: number) => base + each * x;
  return {
    encode: (images) => gapMs + images.length * at(encode, beside),
    forward(sequences) {
      const prompts = sequences.filter(({ tokens }) => tokens.length > 1);
      const tokens = prompts.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
      const decoding = sequences.length - prompts.length;
      const ms = gapMs + tokens * at(prefill, beside) + (decoding === 0 ? 0 : at(decode, decoding));
      if (decoding > 0) beside = decoding;
      return ms;
    },
    compress: () => 0,
  };
}
