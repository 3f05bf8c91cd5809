// head_constants: how many heads there are, for kernels that see query heads beside KV heads; part of those kernels.
// Reference: tests/reference/kv_pages.ts
import type { HeadShape } from "../lib/ops/backend.ts";

/** WGSL: HEADS query heads, GROUP of which read one KV head, of HEAD_DIM elements each. */
export function headConstants({ heads, kvHeads, headDim }: HeadShape): string {
  return `
const HEADS: u32 = ${heads}u;
const GROUP: u32 = ${heads / kvHeads}u;
const HEAD_DIM: u32 = ${headDim}u;`;
}
