// kv_gather_turned: kv_gather whose keys are turned back by kept − i positions, from that of their slot to that of their rank i.
// jobs: see KvJobs. kept [jobs·kvHeads, keptMax] u32, ascending in a row. rotary [positions, headDim] f32: cos, sin of each position.
// Pairs (i, i + headDim/2): (a, b) → (a·cos + b·sin, b·cos − a·sin). Values are moved as stored.
// A workgroup of 64 threads moves 16 slots of one head of one job. Grid: (slots / 16, rows folded into z).
// Reference: tests/reference/kv_gather.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvWriting } from "./kv_address.wgsl.ts";
import { kvCopying } from "./kv_job.wgsl.ts";

/** Params: rows (jobs · kvHeads), keptMax, shard shift. */
export function kvGatherTurnedKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_gather_turned ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
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
@group(0) @binding(2) var<storage, read> rotary: array<f32>;
${kvWriting(layout, 3)}
struct Params {
  rows: u32,
  kept_max: u32,
  shard_shift: u32,
}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
const HEAD_DIM: u32 = 4u * QUADS;
const HALF: u32 = 2u * QUADS;

// What channel d takes from its partner, half a head away.
fn partner_part(key: Address, angles: u32, d: u32) -> f32 {
  if (d < HALF) {
    let other = d + HALF;
    return load_quad(key, (other / 4u) * PAGE_SLOTS)[other % 4u] * rotary[angles + HALF + d];
  }
  let other = d - HALF;
  return -load_quad(key, (other / 4u) * PAGE_SLOTS)[other % 4u] * rotary[angles + d];
}
${
    kvCopying(`    let from_slot = kept[row * params.kept_max + to];
    let from_page = jobs[table + from_slot / PAGE_SLOTS];
    let key = key_address(from_page, head, from_slot);
    let angles = (from_slot - to) * HEAD_DIM;
    let own = load_quad(key, quad * PAGE_SLOTS);
    var turned = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
      let d = 4u * quad + i;
      turned[i] = fma(own[i], rotary[angles + d % HALF], partner_part(key, angles, d));
    }
    store_quad(key_address(to_page, head, to), quad * PAGE_SLOTS, turned);
    let value = load_words(value_address(from_page, head, from_slot), quad);
    store_words(value_address(to_page, head, to), quad, value);`)
  }`;
}
