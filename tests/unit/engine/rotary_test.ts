import assert from "node:assert/strict";
import { inverseFrequencies, Rotary } from "../../../lib/engine/rotary.ts";

Deno.test("inverseFrequencies without scaling are theta^(-2i/d)", () => {
  const frequencies = inverseFrequencies({ theta: 10000, llama3: null }, 8);
  for (const [i, expected] of [1, 0.1, 0.01, 0.001].entries()) {
    assert.ok(Math.abs(frequencies[i] / expected - 1) < 1e-6, `${frequencies[i]} against ${expected}`);
  }
});

Deno.test("inverseFrequencies with llama3 scaling keep high frequencies, divide low ones, blend between", () => {
  const llama3 = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalPositions: 64 };
  const plain = inverseFrequencies({ theta: 10000, llama3: null }, 16);
  const scaled = inverseFrequencies({ theta: 10000, llama3 }, 16);
  assert.equal(scaled[0], plain[0]); // wavelength 6.3 < 64 / 4
  assert.ok(scaled[1] < plain[1] && scaled[1] > plain[1] / 8); // 19.9: between
  assert.ok(Math.abs(scaled[4] - plain[4] / 8) < 1e-9); // 628 > 64
});

Deno.test("Rotary rows are cos then sin of position times frequency, across block borders", () => {
  const rotary = new Rotary({ theta: 10000, llama3: null }, 4);
  const rows = rotary.rows(Uint32Array.of(0, 0, 0, 255, 255, 255, 256, 256, 256, 70_000, 70_000, 70_000));
  const frequencies = inverseFrequencies({ theta: 10000, llama3: null }, 4);
  for (const [t, position] of [0, 255, 256, 70_000].entries()) {
    for (let i = 0; i < 2; i++) {
      const angle = Math.fround(position * frequencies[i]);
      assert.ok(Math.abs(rows[4 * t + i] - Math.cos(angle)) < 1e-7);
      assert.ok(Math.abs(rows[4 * t + 2 + i] - Math.sin(angle)) < 1e-7);
    }
  }
});
