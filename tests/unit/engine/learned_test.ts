import assert from "node:assert/strict";
import { withTrained } from "../../../lib/engine/compress/learned.ts";
import { keptByLayer, usualCompression } from "../../../lib/engine/compress/mod.ts";
import { parseCompression } from "../../../lib/engine/compress/settings.ts";
import { FACTOR_MAX, uniformFactors } from "../../../lib/model/compressor.ts";

const COMPRESSORS = [
  { factor: 2, minGroups: 2, factors: uniformFactors(2, 2, false) },
  { factor: 3, minGroups: 2, factors: uniformFactors(3, 2) },
];

Deno.test("withTrained fills in what was trained for the ratio, and leaves other methods alone", () => {
  for (
    const [ratio, { minGroups, factors }] of [[0.5, COMPRESSORS[0]], [1 - 1 / 3, COMPRESSORS[1]]] as const
  ) {
    const found = withTrained(usualCompression("learned", ratio), COMPRESSORS);
    assert("compression" in found);
    assert.deepEqual(found.compression.settings, { min_groups: minGroups, ...factors });
  }
  const other = usualCompression("snapkv", 0.5);
  assert.deepEqual(withTrained(other, []), { compression: other });
});

Deno.test("withTrained says what was trained, or that nothing was", () => {
  const asked = usualCompression("learned", 0.8);
  const problem = (compressors: typeof COMPRESSORS) => {
    const found = withTrained(asked, compressors);
    return "problem" in found ? found.problem : assert.fail("it was taken");
  };
  assert.match(problem(COMPRESSORS), /trained for: 0\.5 \(2 to 1\), 0\.667 \(3 to 1\)$/);
  assert.match(problem([]), /no learned compressor/);
  // What is offered can be written down.
  for (let factor = 2; factor <= FACTOR_MAX; factor++) {
    const other = [{ factor, minGroups: 2, factors: uniformFactors(factor, 2) }];
    const found = withTrained(usualCompression("learned", factor === 5 ? 0.5 : 0.8), other);
    assert("problem" in found);
    const ratio = Number(/trained for: ([\d.]+) \(/.exec(found.problem)![1]);
    const parsed = parseCompression({ method: "learned", ratio });
    assert(parsed.ok, `${ratio}`);
    assert.deepEqual(parsed.compression.size, { ratio: 1 - 1 / factor });
    assert("compression" in withTrained(parsed.compression, other));
  }
});

Deno.test("keptByLayer of learned counts pictures and text apart, in layers of equal factors alike", () => {
  const kept = (ratio: number, slots: number, images: { first: number; count: number }[]) => {
    const found = withTrained(usualCompression("learned", ratio), COMPRESSORS);
    assert("compression" in found);
    return [...keptByLayer(found.compression, { slots: new Uint32Array(2).fill(slots), images })];
  };
  const images = [{ first: 4, count: 9 }, { first: 20, count: 5 }];
  // By three: four of text are one group, fewer than two, and stay; then 9 → 3, 7 → 2 + 1, 5 stay, 15 → 5.
  assert.deepEqual(kept(1 - 1 / 3, 40, images), new Array(2).fill(4 + 3 + 3 + 5 + 5));
  // By two, which has no networks for pictures: 4 → 2, 9, 7 → 3 + 1, 5, 15 → 7 + 1.
  assert.deepEqual(kept(0.5, 40, images), new Array(2).fill(2 + 9 + 4 + 5 + 8));
  assert.throws(() =>
    keptByLayer(usualCompression("learned", 0.5), { slots: Uint32Array.of(9), images: [] })
  );
});

Deno.test("keptByLayer of learned counts every layer by its own factors, whatever the factor that was named", () => {
  const factors = { text: [2, 5, 1], image: [16, 1, 4] };
  const trained = withTrained(usualCompression("learned", 0.8), [{ factor: 5, minGroups: 2, factors }]);
  assert("compression" in trained);
  const kept = (slots: number, images: { first: number; count: number }[]) => [
    ...keptByLayer(trained.compression, { slots: new Uint32Array(3).fill(slots), images }),
  ];
  // Text of 4 and 13 around a picture of 34; by 16 it makes two groups and a rest of two.
  assert.deepEqual(kept(51, [{ first: 4, count: 34 }]), [2 + 4 + 7, 4 + 34 + 5, 4 + 10 + 13]);
  // A picture of 31 is one group of 16 and stays.
  assert.deepEqual(kept(31, [{ first: 0, count: 31 }]), [31, 31, 10]);
  assert.throws(() => keptByLayer(trained.compression, { slots: new Uint32Array(4).fill(9), images: [] }));
});
