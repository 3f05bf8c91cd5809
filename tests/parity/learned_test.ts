import assert from "node:assert/strict";
import type { ImageSpan } from "../../lib/engine/compress/method.ts";
import { LearnedNetworks } from "../../lib/engine/compress/networks.ts";
import { keptByLearned } from "../../lib/engine/compress/segments.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { learned } from "../reference/learned.ts";
import { testEach } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { assertClose } from "../support/compare.ts";
import { randomCompressor } from "../support/compressors.ts";
import { kvJobs, kvShape, storeRows } from "../support/kv.ts";

const LAYERS = 2;
const HEADS = { heads: 3, kvHeads: 3, headDim: 20 };

/** Prompts: a picture inside, two pictures of which one ends the prompt, pictures side by side, no picture, too short. */
const PROMPTS: readonly { readonly slots: number; readonly images: readonly ImageSpan[] }[] = [
  { slots: 41, images: [{ first: 5, count: 17 }] },
  { slots: 38, images: [{ first: 0, count: 9 }, { first: 21, count: 17 }] },
  { slots: 33, images: [{ first: 3, count: 10 }, { first: 13, count: 10 }] },
  { slots: 29, images: [] },
  { slots: 3, images: [] },
];

for (const dtype of ["f32", "f16"] as const satisfies readonly KvDtype[]) {
  for (
    const facts of [{ factor: 2 }, { factor: 5 }, { factor: 3, images: false }, { factor: 4, minGroups: 3 }]
  ) {
    testEach(
      `LearnedNetworks compress segments of five prompts in one batch, ${dtype} pages, ${
        JSON.stringify(facts)
      }`,
      async (scope) => {
        const { kvHeads, headDim } = HEADS;
        const draw = new Draw(facts.factor), free = draw.shuffled(120);
        const compressor = randomCompressor(draw, { layers: LAYERS, headDim }, facts);
        const networks = new LearnedNetworks(scope.backend, compressor, LAYERS);
        const pages = scope.pages(kvShape(dtype, HEADS, 120));
        const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
        const prompts = PROMPTS.map(({ slots, images }) => ({
          slots,
          images,
          kept: keptByLearned(slots, images, networks.facts),
        }));
        const jobs = prompts.flatMap(({ slots, kept }) =>
          Array.from({ length: LAYERS }, () => ({ slots, kept, source: take(slots), target: take(kept) }))
        );
        const stored = jobs.map(({ slots }) => draw.normal(slots * 2 * kvHeads * headDim).map(Math.f16round));
        const results = await scope.step((step) => {
          for (const [j, { source }] of jobs.entries()) storeRows(step, pages, source, 0, stored[j]);
          networks.record({
            ...{ step, pages, jobs: kvJobs(step, jobs) },
            prompts: prompts.map(({ slots, images }) => ({
              slots: new Uint32Array(LAYERS).fill(slots),
              images,
            })),
          });
          const turned = kvJobs(
            step,
            jobs.map(({ kept, source, target }) => ({ slots: kept, kept, source: target, target: source })),
          );
          return jobs.flatMap(({ kept }, j) =>
            (["key", "value"] as const).map((part) => {
              const out = step.tensor(kept * kvHeads, headDim);
              const groups = Uint32Array.from({ length: 3 * kept }, (_, i) =>
                i % 3 === 0 ? j : Math.floor(i / 3));
              step.kvReadRows({ pages, jobs: turned, groups: step.indices(groups), layer: 0, part, out });
              return out;
            })
          );
        });
        for (const [j, { slots, kept }] of jobs.entries()) {
          for (const [p, part] of (["key", "value"] as const).entries()) {
            for (let head = 0; head < kvHeads; head++) {
              const rows = Array.from({ length: slots }, (_, slot) => {
                const at = ((slot * 2 + p) * kvHeads + head) * headDim;
                return Float64Array.from(stored[j].subarray(at, at + headDim));
              });
              const { images } = prompts[Math.floor(j / LAYERS)];
              const expected = learned(compressor, j % LAYERS, part, rows, images);
              assert.equal(expected.length, kept, "slots kept");
              const actual = Array.from({ length: kept }, (_, slot) => {
                const at = (slot * kvHeads + head) * headDim;
                return [...results[2 * j + p].subarray(at, at + headDim)];
              });
              assertClose(
                Float32Array.from(actual.flat()),
                Float32Array.from(expected.flatMap((row) => [...row])),
                dtype === "f16" ? "f16" : "reduce",
                `job ${j} ${part} head ${head}`,
              );
            }
          }
        }
      },
    );
  }
}
