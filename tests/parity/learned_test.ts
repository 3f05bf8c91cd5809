import assert from "node:assert/strict";
import type { ImageSpan } from "../../lib/engine/compress/method.ts";
import { LearnedNetworks } from "../../lib/engine/compress/networks.ts";
import { keptByLearned, layerFacts } from "../../lib/engine/compress/segments.ts";
import type { Compressor } from "../../lib/model/compressor.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { learned } from "../reference/learned.ts";
import { testEach } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { assertClose, nmse } from "../support/compare.ts";
import { randomCompressor } from "../support/compressors.ts";
import { attendRows, kvJobs, kvShape, storeRows } from "../support/kv.ts";

const LAYERS = 4;
const PAGES = 200;
const HEADS = { heads: 3, kvHeads: 3, headDim: 20 };

/** Prompts: a picture inside, two pictures of which one ends the prompt, pictures side by side, no picture, too short. */
const PROMPTS: readonly { readonly slots: number; readonly images: readonly ImageSpan[] }[] = [
  { slots: 41, images: [{ first: 5, count: 17 }] },
  { slots: 38, images: [{ first: 0, count: 9 }, { first: 21, count: 17 }] },
  { slots: 33, images: [{ first: 3, count: 10 }, { first: 13, count: 10 }] },
  { slots: 29, images: [] },
  { slots: 3, images: [] },
];

/** What remains of a job's rows [slots, keys of all heads, then values], in the same layout, by the plain formula. */
function remaining(
  compressor: Compressor,
  layer: number,
  stored: Float32Array,
  slots: number,
  images: readonly ImageSpan[],
): Float32Array {
  const { kvHeads, headDim } = HEADS, width = 2 * kvHeads * headDim;
  const columns = (["key", "value"] as const).flatMap((part, p) =>
    Array.from({ length: kvHeads }, (_, head) => {
      const rows = Array.from({ length: slots }, (_, slot) => {
        const at = slot * width + (p * kvHeads + head) * headDim;
        return Float64Array.from(stored.subarray(at, at + headDim));
      });
      return learned(compressor, layer, part, rows, images);
    })
  );
  return Float32Array.from(columns[0].flatMap((_, slot) => columns.flatMap((column) => [...column[slot]])));
}

for (const dtype of ["f32", "f16"] as const satisfies readonly KvDtype[]) {
  for (
    const facts of [
      { factor: 2 },
      { factor: 5 },
      { factor: 3, images: false },
      { factor: 4, minGroups: 3 },
      // Layers of their own factors, of which one leaves pictures raw, one text, and one all.
      { factor: 5, factors: { text: [2, 2, 1, 1], image: [7, 1, 3, 1] } },
    ]
  ) {
    testEach(
      `LearnedNetworks compress segments of five prompts in one batch, ${dtype} pages, ${
        JSON.stringify(facts)
      }`,
      async (scope) => {
        const { kvHeads, headDim } = HEADS;
        const draw = new Draw(facts.factor), free = draw.shuffled(PAGES);
        const compressor = randomCompressor(draw, { layers: LAYERS, headDim }, facts);
        const networks = new LearnedNetworks(scope.backend, compressor, LAYERS);
        const pages = scope.pages(kvShape(dtype, HEADS, PAGES));
        const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
        const prompts = PROMPTS.map(({ slots, images }) => ({
          slots,
          images,
          kept: Array.from(
            { length: LAYERS },
            (_, layer) => keptByLearned(slots, images, layerFacts(networks.facts, layer)),
          ),
        }));
        const jobs = prompts.flatMap(({ slots, kept }) =>
          kept.map((kept) => ({ slots, kept, source: take(slots), target: take(kept) }))
        );
        const stored = jobs.map(({ slots }) => draw.normal(slots * 2 * kvHeads * headDim).map(Math.f16round));
        const queries = draw.normal(2 * kvHeads * headDim);
        const results = await scope.step((step) => {
          for (const [j, { source }] of jobs.entries()) storeRows(step, pages, source, 0, stored[j]);
          networks.record({
            ...{ step, pages, jobs: kvJobs(step, jobs) },
            prompts: prompts.map(({ slots, images }) => ({
              slots: new Uint32Array(LAYERS).fill(slots),
              images,
            })),
          });
          return jobs.flatMap(({ kept, source, target }, j) => {
            const { slots } = jobs[j], expected = take(kept);
            const { images } = prompts[Math.floor(j / LAYERS)];
            storeRows(step, pages, expected, 0, remaining(compressor, j % LAYERS, stored[j], slots, images));
            return [
              ...[target, expected].map((table) => attendRows(step, pages, table, kept, queries)),
              attendRows(step, pages, source, slots, queries),
            ];
          });
        });
        for (let j = 0; j < jobs.length; j++) {
          const [found, expected, raw] = results.slice(3 * j, 3 * j + 3);
          assertClose(found, expected, dtype === "f16" ? "f16" : "reduce", `job ${j}`);
          assert.equal(nmse(found, raw) > 1e-3, jobs[j].kept < jobs[j].slots, `job ${j} became shorter`);
        }
      },
    );
  }
}
