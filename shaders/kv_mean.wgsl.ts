// kv_mean: target slot i = mean of source slots i·f … i·f + f − 1 for i < ⌊n/f⌋, K and V apart; the remainder follows
// as stored. jobs: see KvJobs; a job keeps ⌊n/f⌋ + n mod f slots. Means are taken in f32 over ascending slots.
// Source and target pages are disjoint.
// A workgroup of 64 threads writes 16 slots of one head of one job. Grid: (slots / 16, rows folded into z).
// Reference: tests/reference/kv_mean.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvWriting } from "./kv_address.wgsl.ts";
import { kvCopying } from "./kv_job.wgsl.ts";

/** Params: rows (jobs · kvHeads), factor, shard shift. */
export function kvMeanKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_mean ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: 3,
    get code() {
      return code(layout);
    },
  };
}

function code(layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvWriting(layout, 1)}
struct Params {
  rows: u32,
  factor: u32,
  shard_shift: u32,
}
@group(0) @binding(${1 + layout.shards}) var<uniform> params: Params;
${
    kvCopying(
      `    let to_key = key_address(to_page, head, to);
    let to_value = value_address(to_page, head, to);
    if (to < means) {
      var key_sum = vec4<f32>(0.0);
      var value_sum = vec4<f32>(0.0);
      for (var i = 0u; i < params.factor; i += 1u) {
        let from_slot = to * params.factor + i;
        let from_page = jobs[table + from_slot / PAGE_SLOTS];
        key_sum += load_quad(key_address(from_page, head, from_slot), quad * PAGE_SLOTS);
        value_sum += load_quad(value_address(from_page, head, from_slot), quad);
      }
      store_quad(to_key, quad * PAGE_SLOTS, key_sum / f32(params.factor));
      store_quad(to_value, quad, value_sum / f32(params.factor));
    } else {
      let from_slot = means * params.factor + (to - means);
      let from_page = jobs[table + from_slot / PAGE_SLOTS];
      store_words(to_key, quad * PAGE_SLOTS, load_words(key_address(from_page, head, from_slot), quad * PAGE_SLOTS));
      store_words(to_value, quad, load_words(value_address(from_page, head, from_slot), quad));
    }`,
      "  let means = slots / params.factor;\n",
    )
  }`;
}
