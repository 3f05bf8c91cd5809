/** Records the choice of tokens. */
import { sampleKernel } from "../../shaders/sample.wgsl.ts";
import { assert } from "../core/assert.ts";
import { SAMPLE_WORDS } from "../ops/backend.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuIndices, GpuTensor, Recorder } from "./recorder.ts";

export function recordSample(
  recorder: Recorder,
  o: { logits: GpuTensor; params: GpuIndices; tokens: GpuTensor; logprobs: GpuTensor | null },
): void {
  const { rows, cols: vocab } = o.logits;
  assert(o.params.values.length === rows * SAMPLE_WORDS, "every row has its parameters");
  assert(o.tokens.rows === rows && o.tokens.cols === 1 && o.tokens.dtype === "u32", "a row gets one token");
  const buffers = [o.logits.buffer, o.params.buffer, o.tokens.buffer];
  let pairs = 0;
  if (o.logprobs !== null) {
    assert(
      o.logprobs.rows === rows && o.logprobs.cols >= 2 && o.logprobs.cols % 2 === 0,
      "a record holds two numbers and whole pairs",
    );
    pairs = (o.logprobs.cols - 2) / 2;
    buffers.push(o.logprobs.buffer);
  }
  recorder.dispatch(sampleKernel(o.logprobs !== null), buffers, [rows, vocab, pairs], foldedGrid(rows));
}
