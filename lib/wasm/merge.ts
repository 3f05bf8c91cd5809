/** kv_merge: slots that go are folded, half way, into the most similar of those that stay. Threads take whole heads. */
import { CompressWord, eachHead } from "./compression.ts";
import { PageWalk, SlotWriter } from "./heads.ts";
import type { Machine } from "./machine.ts";

/** Keys by their length, [slots][headDim]. */
function directions(keys: Float32Array, headDim: number): Float32Array {
  const out = new Float32Array(keys.length);
  for (let row = 0; row < keys.length; row += headDim) {
    let squares = 0;
    for (let d = 0; d < headDim; d++) squares += keys[row + d] * keys[row + d];
    const inverse = 1 / Math.max(Math.sqrt(squares), 1e-12);
    for (let d = 0; d < headDim; d++) out[row + d] = keys[row + d] * inverse;
  }
  return out;
}

export function runKvMerge(machine: Machine, w: Uint32Array): void {
  const chosen = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  eachHead(machine, w, (job, head, row, view) => {
    const { headDim } = view.page, { slots, kept } = job;
    const { keys, values } = new PageWalk(machine, view, job, head).rows();
    const stays = machine.u32.slice(chosen + row * width, chosen + row * width + kept);
    const isKept = new Uint8Array(slots);
    for (const slot of stays) isKept[slot] = 1;
    const all = directions(keys, headDim), toward = new Float32Array(kept * headDim);
    const counts = new Float64Array(kept).fill(1), sums = new Float64Array(2 * kept * headDim);
    for (const [i, slot] of stays.entries()) {
      const at = slot * headDim;
      toward.set(all.subarray(at, at + headDim), i * headDim);
      sums.set(keys.subarray(at, at + headDim), 2 * i * headDim);
      sums.set(values.subarray(at, at + headDim), (2 * i + 1) * headDim);
    }
    for (let slot = 0; slot < slots; slot++) {
      if (isKept[slot] === 1) continue;
      const own = slot * headDim;
      let best = 0, similarity = -Infinity;
      for (let i = 0, at = 0; i < kept; i++) {
        let dot = 0;
        for (let d = 0; d < headDim; d++, at++) dot += all[own + d] * toward[at];
        if (dot > similarity) {
          similarity = dot;
          best = i;
        }
      }
      counts[best]++;
      const pivot = stays[best] * headDim, to = 2 * best * headDim;
      for (let d = 0; d < headDim; d++) {
        sums[to + d] += (keys[own + d] + keys[pivot + d]) / 2;
        sums[to + headDim + d] += (values[own + d] + values[pivot + d]) / 2;
      }
    }
    const writer = new SlotWriter(machine, view, job, head);
    for (let i = 0; i < kept; i++) {
      for (let d = 0; d < 2 * headDim; d++) writer.row[d] = sums[2 * i * headDim + d] / counts[i];
      writer.write(i);
    }
  });
}
