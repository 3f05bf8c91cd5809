import assert from "node:assert/strict";
import { SAMPLE_WORDS, SampleWord } from "../../../lib/ops/backend.ts";
import { Draw } from "../../support/cases.ts";
import { testGpu } from "../../support/gpu.ts";
import { Scope } from "../../support/scope.ts";

/** Parameters so narrow that the largest logit alone may be drawn. */
const NARROW = [
  { temperature: 1, minP: 1 },
  { temperature: 1, topP: 0 },
  { temperature: 1, topK: 1 },
  { temperature: 1e-30 },
  { temperature: 5, topP: 1e-9, minP: 0.5, topK: 3 },
];

testGpu("sample under the narrowest filters draws the largest logit for any seed", {}, async (gpu) => {
  using scope = new Scope(gpu);
  const rows = NARROW.length * 16, vocab = 700;
  const logits = new Draw(17).normal(rows * vocab);
  const words = new Uint32Array(rows * SAMPLE_WORDS), floats = new Float32Array(words.buffer);
  for (let row = 0; row < rows; row++) {
    const { temperature, topP = 1, minP = 0, topK = 0 } = NARROW[row % NARROW.length];
    const at = row * SAMPLE_WORDS;
    floats[at + SampleWord.temperature] = temperature;
    floats[at + SampleWord.topP] = topP;
    floats[at + SampleWord.minP] = minP;
    words[at + SampleWord.topK] = topK;
    words[at + SampleWord.seedLow] = row;
  }
  const [tokens] = await scope.step((step) => {
    const tokens = step.tensor(rows, 1, "u32");
    const params = step.indices(words);
    step.sample({ logits: step.upload(rows, vocab, logits), params, tokens, logprobs: null });
    return [tokens];
  });
  for (let row = 0; row < rows; row++) {
    const values = logits.subarray(row * vocab, (row + 1) * vocab);
    assert.equal(tokens[row], values.indexOf(Math.max(...values)), `row ${row}`);
  }
});
