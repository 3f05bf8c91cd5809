// kv_norm: scores[j·kvHeads + h, slot] = −‖K[h, slot]‖₂ of job j's source pages; nothing at or past its stored slots.
// jobs: see KvJobs. scores [jobs·kvHeads, slotsMax] f32. The sum of squares is one fma chain over ascending dimensions.
// One thread per (job, head, slot), 64 slots a workgroup. Grid: (slots / 64, rows folded into z).
// Reference: tests/reference/kv_norm.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import type { KvLayout } from "./kv_address.wgsl.ts";
import { KV_ROW, kvScoring } from "./kv_job.wgsl.ts";

export function kvNormKernel(layout: KvLayout): Kernel {
  return kvScoring("kv_norm", layout, [], () => CODE);
}

const CODE = `${KV_ROW}
  let slot = group.x * 64u + lane;
  if (slot >= slots) { return; }
  let page = jobs[table + slot / PAGE_SLOTS];
  let key = key_address(page, head, slot);
  var squares = 0.0;
  for (var quad = 0u; quad < QUADS; quad += 1u) {
    let k = load_quad(key, quad * PAGE_SLOTS);
    squares = fma(k.w, k.w, fma(k.z, k.z, fma(k.y, k.y, fma(k.x, k.x, squares))));
  }
  scores[row * params.slots_max + slot] = -sqrt(squares);
}
`;
