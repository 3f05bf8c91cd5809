import assert from "node:assert/strict";
import type { HeadShape, Step } from "../../lib/ops/backend.ts";
import { KV_RAW, type KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import { type Factors, groupsOf, layout, randomNetwork, TARGET_SLOTS } from "../support/kv_groups.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
const PAGES = 60;
/** Factors of both networks; odd ones, one above a page's slots, and one that the other is a multiple of. */
const FACTORS: readonly Factors[] = [[2, 2], [5, 5], [3, 17], [32, 2]];

/** Pages with the sources of two sequences of two layers and targets to be overwritten, and folds of them. */
function prepare(scope: Scope, dtype: KvDtype, shape: HeadShape, factors: Factors | readonly []) {
  const { kvHeads, headDim } = shape, draw = new Draw((factors[0] ?? 1) * headDim), width = kvHeads * headDim;
  const { jobs, free } = layout(draw, PAGES), pages = scope.pages(kvShape(dtype, shape, PAGES));
  const layers = [0, 1].map((layer) => ({
    layer,
    networks: factors.map((factor) => ({
      keys: randomNetwork(scope, draw, factor, headDim),
      values: randomNetwork(scope, draw, factor, headDim),
    })),
  }));
  const queries = draw.normal(2 * width);
  const rows = (slots: number) => draw.normal(slots * 2 * width).map(Math.f16round);
  const sources = jobs.map(({ slots }) => rows(slots)), targets = jobs.map(() => rows(TARGET_SLOTS));
  return {
    jobs,
    store(step: Step) {
      for (const [j, { source, target }] of jobs.entries()) {
        storeRows(step, pages, source, 0, sources[j]);
        storeRows(step, pages, target, 0, targets[j]);
      }
    },
    /** In one layer alone, or in both. */
    fold(step: Step, groups: readonly number[][], only?: number) {
      const indices = step.indices(Uint32Array.from(groups.flat()));
      const own = only === undefined ? layers : [layers[only]];
      step.kvFold({ pages, jobs: kvJobs(step, jobs), groups: indices, layers: own });
    },
    look: (step: Step, table: readonly number[], slots: number) => [
      attendRows(step, pages, table, slots, queries),
      readValues(step, pages, table, Math.min(slots, TARGET_SLOTS), free),
    ],
  };
}

for (const dtype of DTYPES) {
  testParity(
    `kvFold puts groups of slots through their network into the target slots, ${dtype} pages`,
    dtype === "f16" ? "f16" : "reduce",
    pairs(FACTORS, HEAD_SHAPES),
    (scope, [factors, shape]) => {
      const { jobs, store, fold, look } = prepare(scope, dtype, shape, factors);
      return scope.step((step) => {
        store(step);
        fold(step, groupsOf(factors));
        return jobs.flatMap(({ target }) => look(step, target, TARGET_SLOTS));
      });
    },
  );
}

for (const factors of [[3, 3], [2, 7]] as const) {
  testEach(
    `kvFold gives each group the bits that it has alone, in any order, factors ${factors}`,
    async (scope) => {
      const { jobs, store, fold, look } = prepare(scope, "f32", HEAD_SHAPES[0], factors);
      const groups = groupsOf(factors);
      const after = (folds: (step: Step) => void) =>
        scope.step((step) => {
          store(step);
          folds(step);
          return jobs.flatMap(({ target }) => look(step, target, TARGET_SLOTS));
        });
      const together = await after((step) => fold(step, groups));
      const others = {
        "one by one": await after((step) => groups.forEach((group) => fold(step, [group]))),
        backwards: await after((step) => fold(step, groups.toReversed())),
        "layer by layer": await after((step) => [1, 0].forEach((layer) => fold(step, groups, layer))),
      };
      for (const [name, looks] of Object.entries(others)) {
        for (const [i, values] of together.entries()) assertSameBits(looks[i], values, `${name}, look ${i}`);
      }
    },
  );
}

testEach("kvFold copies where a layer has no networks, and leaves other layers alone", async (scope) => {
  const { jobs, store, fold, look } = prepare(scope, "f16", HEAD_SHAPES[0], []);
  const turned = Array.from({ length: TARGET_SLOTS }, (_, i) => [0, TARGET_SLOTS - 1 - i, i, KV_RAW]);
  const values = (step: Step, table: readonly number[]) => look(step, table, TARGET_SLOTS)[1];
  const [before] = await scope.step((step) => (store(step), [values(step, jobs[0].target)]));
  const [other, target, source] = await scope.step((step) => {
    fold(step, turned, 1);
    return [jobs[0].target, jobs[1].target, jobs[1].source].map((table) => values(step, table));
  });
  assertSameBits(other, before, "layer 0");
  const width = source.length / TARGET_SLOTS;
  const slot = (all: typeof source, index: number) => all.subarray(index * width, (index + 1) * width);
  for (const [, from, to] of turned) assertSameBits(slot(target, to), slot(source, from), `slot ${to}`);
});

testEach("kvFold leaves sources, and target slots that no group has, as they were", async (scope) => {
  const { jobs, store, fold, look } = prepare(scope, "f16", HEAD_SHAPES[0], [5, 4]);
  const groups = groupsOf([5, 4]).filter(([job]) => job === 0),
    taken = new Set(groups.map(([, , target]) => target));
  const seen = (step: Step) => [
    ...jobs.flatMap(({ source, slots }) => look(step, source, slots)),
    ...[jobs[2], jobs[3]].flatMap(({ target }) => look(step, target, TARGET_SLOTS)),
  ];
  const values = (step: Step) => [jobs[0], jobs[1]].map(({ target }) => look(step, target, TARGET_SLOTS)[1]);
  const before = await scope.step((step) => (store(step), [...seen(step), ...values(step)]));
  const after = await scope.step((step) => (fold(step, groups), [...seen(step), ...values(step)]));
  const width = after[after.length - 1].length / TARGET_SLOTS;
  for (const [i, now] of after.entries()) {
    if (i < after.length - 2) assertSameBits(now, before[i], `look ${i}`);
    else {
      for (let slot = 0; slot < TARGET_SLOTS; slot++) {
        const [a, b] = [now, before[i]].map((all) => all.subarray(slot * width, (slot + 1) * width));
        if (taken.has(slot)) assert.notDeepEqual(a, b, `slot ${slot}`);
        else assertSameBits(a, b, `slot ${slot}`);
      }
    }
  }
});
