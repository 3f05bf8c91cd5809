import { assert } from "../../lib/core/assert.ts";
import type { Linear } from "../../lib/ops/backend.ts";
import { KV_GROUP_WORDS, KV_RAW } from "../../lib/ops/kv.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { weights } from "./matrix.ts";
import { floats, type Operands } from "./tensor.ts";

/** The three layers of one row, with ReLU between them. */
function folded(network: readonly Linear[], x: Float64Array): Float64Array {
  return network.reduce((from: Float64Array, { weight, bias }, index) => {
    const { rows, cols, values } = weights(weight), offsets = floats(bias);
    assert(from.length === cols && offsets.length === rows, "layers fit each other");
    return Float64Array.from({ length: rows }, (_, n) => {
      let sum = offsets[n];
      for (let k = 0; k < cols; k++) sum += values[n * cols + k] * from[k];
      return index < network.length - 1 ? Math.max(0, sum) : sum;
    });
  }, x);
}

/** A group's source slots of one head end to end, through the network, into its target slot; of every layer named. */
export function kvFold(o: Operands<"kvFold">): void {
  const pages = pool(o.pages), { kvHeads, headDim } = pages.shape, all = listJobs(o.jobs);
  const words = o.groups.values;
  assert(words.length > 0 && words.length % KV_GROUP_WORDS === 0, "groups are whole");
  for (let at = 0; at < words.length; at += KV_GROUP_WORDS) {
    const [first, target, index] = words.subarray(at + 1, at + KV_GROUP_WORDS);
    for (const { layer, networks } of o.layers) {
      const job = all[words[at] + layer];
      const { keys, values } = index === KV_RAW ? { keys: [], values: [] } : networks[index];
      const slots = index === KV_RAW ? 1 : keys[0].weight.cols / headDim;
      assert(first + slots <= job.slots && target < job.kept, "a group lies in what is stored and kept");
      for (const [part, network] of [["key", keys], ["value", values]] as const) {
        for (let head = 0; head < kvHeads; head++) {
          const x = new Float64Array(slots * headDim);
          for (let i = 0; i < slots; i++) x.set(pages.read(job.source, first + i, part, head), i * headDim);
          pages.write(job.target, target, part, head, folded(network, x));
        }
      }
    }
  }
}
