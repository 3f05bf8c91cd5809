/** Jobs and groups that kv_read_rows and kv_write_rows are tested with. */
import type { Draw } from "./cases.ts";
import type { JobSpec } from "./kv.ts";

/** Two sequences of two layers: lengths that end inside a page. */
export function layout(draw: Draw, pageCount: number): { readonly jobs: JobSpec[]; readonly free: number[] } {
  const free = draw.shuffled(pageCount);
  const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
  const jobs = [37, 37, 70, 70].map((slots) => ({ slots, kept: 20, source: take(slots), target: take(20) }));
  return { jobs, free };
}

/** Job of the sequence's first layer, first source slot, target slot; groups of neighbours, over page bounds, at the end. */
export function groupsOf(count: number): Uint32Array {
  return Uint32Array.from([
    ...[0, 0, 0],
    ...[2, 16 - count + 1, 19],
    ...[0, 37 - count, 3],
    ...[2, 70 - count, 0],
    ...[2, 31, 17],
  ]);
}
