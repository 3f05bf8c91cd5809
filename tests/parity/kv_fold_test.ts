import assert from "node:assert/strict";
import type { HeadShape, Step } from "../../lib/ops/backend.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import { groupsOf, layout, randomNetwork, TARGET_SLOTS } from "../support/kv_groups.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
const PAGES = 60;

/** Pages with the sources of two sequences of two layers and targets to be overwritten, and folds of them. */
function prepare(scope: Scope, dtype: KvDtype, shape: HeadShape, factor: number) {
  const { kvHeads, headDim } = shape, draw = new Draw(factor * headDim), width = kvHeads * headDim;
  const { jobs, free } = layout(draw, PAGES), pages = scope.pages(kvShape(dtype, shape, PAGES));
  const networks = () => ({
    keys: randomNetwork(scope, draw, factor, headDim),
    values: randomNetwork(scope, draw, factor, headDim),
  });
  const layers = [[networks(), networks()], [networks(), networks()]];
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
    fold(step: Step, groups: readonly number[][]) {
      const indices = step.indices(Uint32Array.from(groups.flat()));
      step.kvFold({ pages, jobs: kvJobs(step, jobs), groups: indices, factor, layers });
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
    pairs([2, 5], HEAD_SHAPES),
    (scope, [factor, shape]) => {
      const { jobs, store, fold, look } = prepare(scope, dtype, shape, factor);
      return scope.step((step) => {
        store(step);
        fold(step, groupsOf(factor));
        return jobs.flatMap(({ target }) => look(step, target, TARGET_SLOTS));
      });
    },
  );
}

testEach("kvFold gives each group the bits that it has alone, in any order", async (scope) => {
  const { jobs, store, fold, look } = prepare(scope, "f32", HEAD_SHAPES[0], 3), groups = groupsOf(3);
  const after = (folds: readonly (readonly number[][])[]) =>
    scope.step((step) => {
      store(step);
      for (const some of folds) fold(step, some);
      return jobs.flatMap(({ target }) => look(step, target, TARGET_SLOTS));
    });
  const together = await after([groups]), apart = await after(groups.map((group) => [group]));
  const backwards = await after([groups.toReversed()]);
  for (const [i, values] of together.entries()) {
    assertSameBits(apart[i], values, `one by one, look ${i}`);
    assertSameBits(backwards[i], values, `backwards, look ${i}`);
  }
});

testEach("kvFold leaves sources, and target slots that no group has, as they were", async (scope) => {
  const { jobs, store, fold, look } = prepare(scope, "f16", HEAD_SHAPES[0], 5);
  const groups = groupsOf(5).filter(([job]) => job === 0),
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
