/** Records the operations that choose among cached keys and values and write them anew. */
import type { Kernel } from "../../shaders/kernel.ts";
import { kvGatherKernel } from "../../shaders/kv_gather.wgsl.ts";
import { kvGatherTurnedKernel } from "../../shaders/kv_gather_turned.wgsl.ts";
import { KV_COPY_SLOTS } from "../../shaders/kv_job.wgsl.ts";
import { kvMeanKernel } from "../../shaders/kv_mean.wgsl.ts";
import { kvMergeKernel, kvNearestKernel } from "../../shaders/kv_merge.wgsl.ts";
import { kvPackKernel } from "../../shaders/kv_pack.wgsl.ts";
import { kvUnpackKernel } from "../../shaders/kv_unpack.wgsl.ts";
import { kvTopKernel } from "../../shaders/kv_top.wgsl.ts";
import { assert } from "../core/assert.ts";
import { type KvBits, type KvJobs, PACK_SLOTS } from "../ops/kv.ts";
import { foldedGrid, GRID_MAX } from "./grid.ts";
import type { GpuIndices, GpuKvPages, GpuTensor, Recorder } from "./recorder.ts";
import { layoutOf, shardShift, slotGrid } from "./scoring.ts";

/** KvJobs whose indices are on the device. */
export type GpuKvJobs = KvJobs & { readonly indices: GpuIndices };

/** Slots of one workgroup of kv_nearest. */
const KV_NEAREST_SLOTS = 64;

/** Threads of kv_top's workgroups. A processor in disguise takes a workgroup's threads one vector after the other. */
const TOP_THREADS_MAX = 256, TOP_THREADS_MIN = 32, TOP_THREADS_SOFTWARE = 8;

export function recordKvTop(
  recorder: Recorder,
  o: { jobs: GpuKvJobs; kvHeads: number; scores: GpuTensor; kept: GpuTensor },
): void {
  const rows = o.jobs.jobs * o.kvHeads;
  assert(o.scores.rows === rows && o.scores.cols === o.jobs.slotsMax, "scores have a row a job and head");
  assertKept(o.kept, rows, o.jobs);
  const threads = recorder.tuning.software ? TOP_THREADS_SOFTWARE : Math.min(
    TOP_THREADS_MAX,
    Math.max(TOP_THREADS_MIN, 2 ** Math.ceil(Math.log2(o.jobs.slotsMax))),
  );
  recorder.dispatch(
    kvTopKernel(threads),
    [o.jobs.indices.buffer, o.scores.buffer, o.kept.buffer],
    [rows, o.kvHeads, o.jobs.slotsMax, o.jobs.keptMax],
    foldedGrid(rows),
  );
}

export function recordKvGather(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; kept: GpuTensor; rotary?: GpuTensor | null },
): void {
  const { pages, jobs, kept, rotary } = o, rows = jobs.jobs * pages.shape.kvHeads, layout = layoutOf(pages);
  assertKept(kept, rows, jobs);
  const angles = rotary ? [rotary.buffer] : [];
  recorder.dispatch(
    rotary ? kvGatherTurnedKernel(layout) : kvGatherKernel(layout),
    [jobs.indices.buffer, kept.buffer, ...angles, ...pages.shards],
    [rows, jobs.keptMax, shardShift(pages)],
    slotGrid(jobs.keptMax, KV_COPY_SLOTS, rows),
  );
}

export function recordKvMerge(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; kept: GpuTensor },
): void {
  const { pages, jobs, kept } = o, rows = jobs.jobs * pages.shape.kvHeads, layout = layoutOf(pages);
  assertKept(kept, rows, jobs);
  const nearest = recorder.scratch(rows, jobs.slotsMax, "u32");
  const params = [rows, jobs.slotsMax, jobs.keptMax, shardShift(pages)];
  recorder.dispatch(
    kvNearestKernel(layout),
    [jobs.indices.buffer, kept.buffer, ...pages.shards, nearest.buffer],
    params,
    slotGrid(jobs.slotsMax, KV_NEAREST_SLOTS, rows),
  );
  recorder.dispatch(
    kvMergeKernel(layout),
    [jobs.indices.buffer, kept.buffer, nearest.buffer, ...pages.shards],
    params,
    slotGrid(jobs.keptMax, 1, rows),
  );
  recorder.release(nearest);
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
    slotGrid(o.jobs.keptMax, KV_COPY_SLOTS, rows),
  );
}

export function recordKvPack(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; bits: KvBits; tail: boolean },
): void {
  recordPacking(recorder, kvPackKernel(layoutOf(o.pages), o.bits), o, o.tail);
}

export function recordKvUnpack(
  recorder: Recorder,
  o: { pages: GpuKvPages; jobs: GpuKvJobs; bits: KvBits },
): void {
  recordPacking(recorder, kvUnpackKernel(layoutOf(o.pages), o.bits), o, false);
}

function recordPacking(
  recorder: Recorder,
  kernel: Kernel,
  { pages, jobs }: { pages: GpuKvPages; jobs: GpuKvJobs },
  tail: boolean,
): void {
  assert(jobs.jobs <= GRID_MAX && pages.shape.headDim % 8 === 0, "jobs fit the grid, and codes fill words");
  recorder.dispatch(
    kernel,
    [jobs.indices.buffer, ...pages.shards],
    [shardShift(pages), Number(tail)],
    [Math.ceil(jobs.slotsMax / PACK_SLOTS), pages.shape.kvHeads, jobs.jobs],
  );
}

function assertKept(kept: GpuTensor, rows: number, jobs: KvJobs): void {
  assert(
    kept.rows === rows && kept.cols === jobs.keptMax && kept.dtype === "u32",
    "kept has a row a job and head",
  );
}
