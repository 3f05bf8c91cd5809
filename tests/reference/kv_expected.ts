import { SCORE_MAX } from "../../lib/ops/backend.ts";
import { dot } from "./attention.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { softmax } from "./softmax.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Turns the rows of a [n, headDim] array: pair (a, b) half a head apart → (a·cos − b·sin, b·cos + a·sin). */
function turn(values: Float64Array, angles: Float64Array): void {
  const dim = angles.length, half = dim / 2;
  for (let row = 0; row < values.length; row += dim) {
    for (let i = 0; i < half; i++) {
      const a = values[row + i], b = values[row + half + i];
      values[row + i] = a * angles[i] - b * angles[half + i];
      values[row + half + i] = b * angles[i] + a * angles[half + i];
    }
  }
}

function transposed(values: Float64Array, dim: number): Float64Array {
  return values.map((_, at) => values[at % dim * dim + Math.floor(at / dim)]);
}

/** Expected attention: what queries of the usual distribution, at the average coming position, would look at. */
export function kvExpected(o: Operands<"kvExpected">): void {
  const { heads, kvHeads, headDim } = o.shape;
  const pages = pool(o.pages), scores = floats(o.scores), group = heads / kvHeads;
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  expectShape(o.rotary, o.jobs.jobs, headDim);
  const size = headDim + headDim ** 2;
  for (const [j, { slots, source, keep, keepBase }] of listJobs(o.jobs).entries()) {
    const angles = floats(o.rotary).subarray(j * headDim, (j + 1) * headDim);
    const sinks = Math.min(o.sinks, slots), rest = slots - sinks;
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const row = scores.subarray((j * kvHeads + kvHead) * o.jobs.slotsMax).subarray(0, slots);
      row.fill(SCORE_MAX, 0, sinks).fill(0, sinks);
      if (rest === 0) continue;
      for (let g = 0; g < group; g++) {
        const kept = pages.readRaw(keep, keepBase + (kvHead * group + g) * size, size);
        const mean = kept.slice(0, headDim);
        let covariance: Float64Array = kept.slice(headDim).map((sum) => sum / rest);
        turn(mean, angles);
        turn(covariance, angles);
        covariance = transposed(covariance, headDim);
        turn(covariance, angles);
        const logits = Float64Array.from({ length: rest }, (_, i) => {
          const key = pages.read(source, sinks + i, "key", kvHead);
          let square = 0;
          for (let d = 0; d < headDim; d++) {
            square += key[d] * dot(covariance.subarray(d * headDim, (d + 1) * headDim), key);
          }
          return o.scale * dot(mean, key) + (o.covariance ? o.scale ** 2 / 2 * square : 0);
        });
        for (const [i, p] of softmax(logits).entries()) row[sinks + i] += p / group;
      }
      if (!o.valueNorm) continue;
      for (let slot = sinks; slot < slots; slot++) {
        const value = pages.read(source, slot, "value", kvHead);
        row[slot] = (row[slot] + o.epsilon) * Math.sqrt(dot(value, value));
      }
    }
  }
}
