import assert from "node:assert/strict";
import { Adam } from "../../../lib/train/adam.ts";
import { TrainedCompressor } from "../../../lib/train/compressor.ts";
import { type Cache, emptyCache, slotsIn, type Span } from "../../../lib/train/span.ts";
import { uniformFactors } from "../../../lib/model/compressor.ts";
import { Draw } from "../../support/cases.ts";
import { assertClose } from "../../support/compare.ts";
import { assertGradient, dot } from "./finite_difference.ts";

const SHAPE = { layers: 2, kvHeads: 2, headDim: 4 };
const FACTS = { factor: 3, minGroups: 2, factors: uniformFactors(3, SHAPE.layers) };
/** Layer 0 leaves text as it is. */
const MIXED = { factor: 3, minGroups: 2, factors: { text: [1, 2], image: [2, 3] } };

function randomSpans(draw: Draw): Span[] {
  const span = (slots: number, images: Span["images"]): Span => {
    const fill = () => Array.from({ length: 2 }, () => draw.normal(slots * 8));
    return { slots, keys: fill(), values: fill(), images };
  };
  return [span(14, [{ first: 2, count: 7 }]), span(8, []), span(4, [])];
}

/** Slots of each layer. */
function slotsOf(caches: readonly Cache[]): number[][] {
  return caches.map((cache) => [0, 1].map((layer) => slotsIn(cache, layer, 8)));
}

Deno.test("TrainedCompressor starts as the mean of each group and leaves the rest as it is", () => {
  const spans = randomSpans(new Draw(1)), compressor = new TrainedCompressor(SHAPE, FACTS);
  // Lifted so far that no ReLU cuts anything.
  compressor.startAsMean(spans, 50);
  const { caches } = compressor.shorten(spans);
  // Span 0: two slots of text stay, 7 of a picture make 2 and a rest, 5 of text make one group and stay.
  assert.deepEqual(slotsOf(caches), [2 + 3 + 5, 2 + 2, 4].map((slots) => [slots, slots]));
  const head = (cache: Cache, slot: number) => {
    const at = slotsIn(cache, 1, 8) + slot;
    return cache.keys[1].subarray(at * 4, (at + 1) * 4);
  };
  const mean = (first: number) =>
    Float32Array.from(
      { length: 4 },
      (_, d) => [0, 1, 2].reduce((sum, i) => sum + head(spans[0], first + i)[d], 0) / 3,
    );
  assertClose(head(caches[0], 2), mean(2), "reduce", "first group of the picture");
  assertClose(head(caches[0], 3), mean(5), "reduce", "second group");
  assert.deepEqual([...head(caches[0], 4)], [...head(spans[0], 8)]);
  assert.deepEqual(caches[2].keys[0], spans[2].keys[0]);
});

Deno.test("TrainedCompressor shortens each layer by its own factors, and has no networks where spans stay", () => {
  const spans = randomSpans(new Draw(3)), compressor = new TrainedCompressor(SHAPE, MIXED);
  compressor.startAsMean(spans, 2);
  const { caches } = compressor.shorten(spans);
  // 2, 7 and 5 slots: pictures of 7 make 3 or 2 and a rest; text of 5 stays, or makes 2 and a rest.
  assert.deepEqual(slotsOf(caches), [[2 + 4 + 5, 2 + 3 + 3], [8, 4], [4, 2]]);
  assert.deepEqual(caches[1].values[0], spans[1].values[0]);
  const names = compressor.parameters.map(({ name }) => name.split(".").slice(0, 2).join("."));
  assert.deepEqual([...new Set(names)], [
    ...["compress_tk.1", "compress_tv.1", "compress_ik.0", "compress_ik.1", "compress_iv.0", "compress_iv.1"],
  ]);
});

for (const [name, facts] of [["equal factors", FACTS], ["factors by layer and kind", MIXED]] as const) {
  Deno.test(`TrainedCompressor's gradients agree with small changes of every kind of parameter, ${name}`, async () => {
    const draw = new Draw(2), spans = randomSpans(draw), compressor = new TrainedCompressor(SHAPE, facts);
    for (const { values } of compressor.parameters) values.set(draw.normal(values.length, 0.6));
    const shortened = compressor.shorten(spans);
    const gradients = slotsOf(shortened.caches).map((slots) => {
      const cache = emptyCache(slots, 8);
      for (const part of [...cache.keys, ...cache.values]) part.set(draw.normal(part.length));
      return cache;
    });
    const loss = () =>
      compressor.shorten(spans).caches.reduce((sum, cache, i) => {
        const pairs = [0, 1].map((l) =>
          dot(cache.keys[l], gradients[i].keys[l]) + dot(cache.values[l], gradients[i].values[l])
        );
        return sum + pairs[0] + pairs[1];
      }, 0);
    compressor.backward(shortened, gradients);
    for (const { name, values, gradient } of compressor.parameters) {
      await assertGradient(loss, values, gradient, name, { step: 1e-3, tolerance: 2e-2, every: 3 });
    }
  });
}

Deno.test("Adam's first step moves every parameter by the rate, against its gradient", () => {
  const values = Float32Array.of(1, 1, 1), gradient = Float32Array.of(3, -4, 0);
  const adam = new Adam([{ name: "p", shape: [3], values, gradient }]);
  assert.equal(adam.step(0.1, 1), 5);
  for (const [at, expected] of [0.9, 1.1, 1].entries()) assert(Math.abs(values[at] - expected) < 1e-6);
  adam.zeroGradients();
  assert.deepEqual([...gradient], [0, 0, 0]);
});
