/** Jobs, groups and networks that kv_fold is tested with. */
import type { FoldNetwork, Linear } from "../../lib/ops/backend.ts";
import { KV_RAW } from "../../lib/ops/kv.ts";
import type { Draw } from "./cases.ts";
import type { JobSpec } from "./kv.ts";
import type { Scope } from "./scope.ts";

/** Target slots of every job. */
export const TARGET_SLOTS = 20;

/** Two sequences of two layers: lengths that end inside a page. */
export function layout(draw: Draw, pageCount: number): { readonly jobs: JobSpec[]; readonly free: number[] } {
  const free = draw.shuffled(pageCount);
  const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
  const jobs = [37, 37, 70, 70].map((slots) => (
    { slots, kept: TARGET_SLOTS, source: take(slots), target: take(TARGET_SLOTS) }
  ));
  return { jobs, free };
}

/** Slots of a group of either of two networks. */
export type Factors = readonly [number, number];

/** Job of the sequence's first layer, first source slot, target slot, networks: groups over page bounds, at ends, and in runs. */
export function groupsOf(factors: Factors): number[][] {
  const [first, second] = factors;
  const run = (networks: 0 | 1, source: number, target: number, count: number) =>
    Array.from({ length: count }, (_, i) => [
      ...[2 * networks, source + i * factors[networks], target + i, networks],
    ]);
  return [
    [0, 0, 0, 1],
    [2, Math.max(0, 16 - first + 1), 19, 0],
    [0, 37 - first, 3, 0],
    [2, 70 - second, 0, 1],
    [2, 31, 17, 1],
    ...[[15, 18], [16, 19], [7, 1], [8, 2], [36, 4]].map(([source, target]) => [0, source, target, KV_RAW]),
    ...[[69, 18], [5, 16]].map(([source, target]) => [2, source, target, KV_RAW]),
    ...run(0, 3, 5, Math.min(13, Math.floor(34 / first))),
    ...run(1, 1, 2, Math.min(14, Math.floor(69 / second))),
  ];
}

/** Random layers of about unit gain, of widths that end inside a panel. */
export function randomNetwork(scope: Scope, draw: Draw, factor: number, headDim: number): FoldNetwork {
  const linear = (outputs: number, inputs: number): Linear => ({
    weight: scope.matrix(outputs, inputs, "f32", draw.normal(outputs * inputs, Math.sqrt(2 / inputs))),
    bias: scope.tensor(1, outputs, draw.normal(outputs, 0.3)),
  });
  return [linear(28, factor * headDim), linear(12, 28), linear(headDim, 12)];
}
