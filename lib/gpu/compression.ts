/** Records the operations that score, choose and rewrite cached keys and values. */
import type { Kernel } from "../../shaders/kernel.ts";
import { kvLayout } from "../../shaders/kv_address.wgsl.ts";
import { KV_GATHER_SLOTS, kvGatherKernel } from "../../shaders/kv_gather.wgsl.ts";
import { KV_MEAN_SLOTS, kvMeanKernel } from "../../shaders/kv_mean.wgsl.ts";
import { kvNormKernel } from "../../shaders/kv_norm.wgsl.ts";
import kvTopCode from "../../shaders/kv_top.wgsl" with { type: "text" };
import { assert } from "../core/assert.ts";
import type { KvJobs } from "../ops/kv.ts";
import { foldedGrid, GRID_MAX } from "./grid.ts";
import type { GpuIndices, GpuKvPages, GpuTensor, Recorder } from "./recorder.ts";

/** KvJobs whose indices are on the device. */
export type GpuKvJobs = KvJobs & { readonly indices: GpuIndices };

/** Slots of one workgroup of kv_norm. */
const KV_NORM_SLOTS = 64;

const kvTop: Kernel = {
  key: "kv_top",
  code: kvTopCode,
  bindings: ["read", "read", "read_write"],
  paramWords: 4,
};

export function recordKvNorm(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; scores: GpuTensor },
): void {
  const rows = o.jobs.jobs * o.pages.shape.kvHeads;
  assert(o.scores.rows === rows && o.scores.cols === o.jobs.slotsMax, "scores have a row a job and head");
  recorder.dispatch(
    kvNormKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, ...o.pages.shards, o.scores.buffer],
    [rows, o.jobs.slotsMax, shardShift(o.pages)],
    slotGrid(o.jobs.slotsMax, KV_NORM_SLOTS, rows),
  );
}

export function recordKvTop(
  recorder: Recorder,
  o: { jobs: GpuKvJobs; kvHeads: number; scores: GpuTensor; kept: GpuTensor },
): void {
  const rows = o.jobs.jobs * o.kvHeads;
  assert(o.scores.rows === rows && o.scores.cols === o.jobs.slotsMax, "scores have a row a job and head");
  assertKept(o.kept, rows, o.jobs);
  recorder.dispatch(
    kvTop,
    [o.jobs.indices.buffer, o.scores.buffer, o.kept.buffer],
    [rows, o.kvHeads, o.jobs.slotsMax, o.jobs.keptMax],
    foldedGrid(rows),
  );
}

export function recordKvGather(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; kept: GpuTensor },
): void {
  const rows = o.jobs.jobs * o.pages.shape.kvHeads;
  assertKept(o.kept, rows, o.jobs);
  recorder.dispatch(
    kvGatherKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, o.kept.buffer, ...o.pages.shards],
    [rows, o.jobs.keptMax, shardShift(o.pages)],
    slotGrid(o.jobs.keptMax, KV_GATHER_SLOTS, rows),
  );
}

export function recordKvMean(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; factor: number },
): void {
  assert(Number.isInteger(o.factor) && o.factor >= 2, "means are of two slots or more");
  const rows = o.jobs.jobs * o.pages.shape.kvHeads;
  recorder.dispatch(
    kvMeanKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, ...o.pages.shards],
    [rows, o.factor, shardShift(o.pages)],
    slotGrid(o.jobs.keptMax, KV_MEAN_SLOTS, rows),
  );
}

function layoutOf(pages: GpuKvPages) {
  return kvLayout(pages.shape, pages.shards.length);
}

function shardShift(pages: GpuKvPages): number {
  return Math.log2(pages.pagesPerShard);
}

/** x over the slots of a row, y and z over rows: a kernel's row is group.y + group.z · groups.y. */
function slotGrid(slots: number, perGroup: number, rows: number): [x: number, y: number, z: number] {
  const x = Math.ceil(slots / perGroup);
  assert(x <= GRID_MAX, "slots of a job fit one grid dimension");
  const [y, z] = foldedGrid(rows);
  return [x, y, z];
}

function assertKept(kept: GpuTensor, rows: number, jobs: KvJobs): void {
  assert(
    kept.rows === rows && kept.cols === jobs.keptMax && kept.dtype === "u32",
    "kept has a row a job and head",
  );
}
