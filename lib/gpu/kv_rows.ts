/** Records the operations that carry groups of cached keys or values to rows of a tensor and back. */
import { kvLayout } from "../../shaders/kv_address.wgsl.ts";
import { kvReadRowsKernel } from "../../shaders/kv_read_rows.wgsl.ts";
import { kvWriteRowsKernel } from "../../shaders/kv_write_rows.wgsl.ts";
import { assert } from "../core/assert.ts";
import { KV_GROUP_WORDS, type KvPart } from "../ops/kv.ts";
import type { GpuKvJobs } from "./compression.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuIndices, GpuKvPages, GpuTensor, Recorder } from "./recorder.ts";

/** Invocations of one workgroup. */
const WORKGROUP = 64;

interface KvRows {
  readonly pages: GpuKvPages;
  readonly jobs: GpuKvJobs;
  readonly groups: GpuIndices;
  readonly layer: number;
  readonly part: KvPart;
}

export function recordKvReadRows(recorder: Recorder, o: KvRows & { readonly out: GpuTensor }): void {
  const { pages, out } = o;
  const { headDim } = pages.shape;
  assert(out.rows === rowsOf(o) && out.cols % headDim === 0, "rows are whole groups of one head");
  recorder.dispatch(
    kvReadRowsKernel(kvLayout(pages.shape, pages.shards.length), o.part),
    [o.jobs.indices.buffer, o.groups.buffer, ...pages.shards, out.buffer],
    [out.rows, out.cols / headDim, o.layer, Math.log2(pages.pagesPerShard)],
    foldedGrid(Math.ceil(out.rows * out.cols / 4 / WORKGROUP)),
  );
}

export function recordKvWriteRows(recorder: Recorder, o: KvRows & { readonly x: GpuTensor }): void {
  const { pages, x } = o;
  assert(x.rows === rowsOf(o) && x.cols === pages.shape.headDim, "a row is one slot of one head");
  recorder.dispatch(
    kvWriteRowsKernel(kvLayout(pages.shape, pages.shards.length), o.part),
    [o.jobs.indices.buffer, o.groups.buffer, x.buffer, ...pages.shards],
    [x.rows, o.layer, Math.log2(pages.pagesPerShard)],
    foldedGrid(Math.ceil(x.rows * x.cols / 4 / WORKGROUP)),
  );
}

function rowsOf({ groups, pages }: KvRows): number {
  return groups.values.length / KV_GROUP_WORDS * pages.shape.kvHeads;
}
