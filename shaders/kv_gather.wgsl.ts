// kv_gather: target slot i of head h of job j = its source slot kept[j·kvHeads + h, i], K and V, for i < kept slots.
// jobs: see KvJobs. kept [jobs·kvHeads, keptMax] u32. Words are moved as stored. Source and target pages are disjoint.
// A workgroup of 64 threads moves 16 slots of one head of one job. Grid: (slots / 16, rows folded into z).
// Reference: tests/reference/kv_gather.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvWriting } from "./kv_address.wgsl.ts";
import { kvCopying } from "./kv_job.wgsl.ts";

/** Params: rows (jobs · kvHeads), keptMax, shard shift. */
export function kvGatherKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_gather ${kvKey(layout)}`,
    bindings: ["read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: 3,
    get code() {
      return code(layout);
    },
  };
}

function code(layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
${kvWriting(layout, 2)}
struct Params {
  rows: u32,
  kept_max: u32,
  shard_shift: u32,
}
@group(0) @binding(${2 + layout.shards}) var<uniform> params: Params;
${
    kvCopying(`    let from_slot = kept[row * params.kept_max + to];
    let from_page = jobs[table + from_slot / PAGE_SLOTS];
    let key = load_words(key_address(from_page, head, from_slot), quad * PAGE_SLOTS);
    store_words(key_address(to_page, head, to), quad * PAGE_SLOTS, key);
    let value = load_words(value_address(from_page, head, from_slot), quad);
    store_words(value_address(to_page, head, to), quad, value);`)
  }`;
}
