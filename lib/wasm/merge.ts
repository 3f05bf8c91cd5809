/** kv_merge: slots that go are folded, half way, into the most similar of those that stay. Threads take whole heads. */
import { CompressWord, eachHead } from "./compression.ts";
import { type HeadPages, type Numbers, numbers } from "./heads.ts";
import type { Machine } from "./machine.ts";

/** Directions of keys, [slots.length][headDim]. */
function directions(values: Numbers, source: HeadPages, slots: Uint32Array, headDim: number): Float64Array {
  const out = new Float64Array(slots.length * headDim);
  for (let i = 0; i < slots.length; i++) {
    const row = i * headDim;
    let squares = 0;
    for (let d = 0, at = source.key(slots[i]); d < headDim; d++, at += source.keyStride) {
      out[row + d] = values[at];
      squares += out[row + d] * out[row + d];
    }
    const inverse = 1 / Math.max(Math.sqrt(squares), 1e-12);
    for (let d = 0; d < headDim; d++) out[row + d] *= inverse;
  }
  return out;
}

export function runKvMerge(machine: Machine, w: Uint32Array): void {
  const kept = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  eachHead(machine, w, (job, head, row, view) => {
    const values = numbers(machine, view), source = job.source(head), target = job.target(head);
    const { headDim } = view.page, stride = source.keyStride;
    const stays = machine.u32.slice(kept + row * width, kept + row * width + job.kept);
    const all = Uint32Array.from({ length: job.slots }, (_, slot) => slot);
    const isKept = new Uint8Array(job.slots);
    for (const slot of stays) isKept[slot] = 1;
    const toward = directions(values, source, stays, headDim), own = directions(values, source, all, headDim);
    const counts = new Float64Array(job.kept).fill(1);
    const keys = new Float64Array(job.kept * headDim), sums = new Float64Array(job.kept * headDim);
    for (let i = 0; i < job.kept; i++) {
      const key = source.key(stays[i]), value = source.value(stays[i]);
      for (let d = 0; d < headDim; d++) {
        keys[i * headDim + d] = values[key + d * stride];
        sums[i * headDim + d] = values[value + d];
      }
    }
    for (let slot = 0; slot < job.slots; slot++) {
      if (isKept[slot] === 1) continue;
      let best = 0, similarity = -Infinity;
      for (let i = 0; i < job.kept; i++) {
        let dot = 0;
        for (let d = 0; d < headDim; d++) dot += own[slot * headDim + d] * toward[i * headDim + d];
        if (dot > similarity) {
          similarity = dot;
          best = i;
        }
      }
      counts[best]++;
      const key = source.key(slot), value = source.value(slot);
      const ownKey = source.key(stays[best]), ownValue = source.value(stays[best]);
      for (let d = 0; d < headDim; d++) {
        keys[best * headDim + d] += (values[key + d * stride] + values[ownKey + d * stride]) / 2;
        sums[best * headDim + d] += (values[value + d] + values[ownValue + d]) / 2;
      }
    }
    for (let i = 0; i < job.kept; i++) {
      const key = target.key(i), value = target.value(i);
      for (let d = 0; d < headDim; d++) {
        values[key + d * stride] = keys[i * headDim + d] / counts[i];
        values[value + d] = sums[i * headDim + d] / counts[i];
      }
    }
  });
}
