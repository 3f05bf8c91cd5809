/** Records the operations that score cached slots from what prefill kept, or from keys and values alone. */
import type { Kernel } from "../../shaders/kernel.ts";
import { type KvLayout, kvLayout } from "../../shaders/kv_address.wgsl.ts";
import kvChunkCode from "../../shaders/kv_chunk.wgsl" with { type: "text" };
import { kvColumnsKernel } from "../../shaders/kv_columns.wgsl.ts";
import {
  kvExpectedKernel,
  kvExpectedWeightsKernel,
  kvTurnMomentsKernel,
} from "../../shaders/kv_expected.wgsl.ts";
import { kvKeyDiffKernel } from "../../shaders/kv_key_diff.wgsl.ts";
import { kvLagKernel, LAG_MAX } from "../../shaders/kv_lag.wgsl.ts";
import { kvNormKernel } from "../../shaders/kv_norm.wgsl.ts";
import { kvWindowKernel, kvWindowMeanKernel, kvWindowRowsKernel } from "../../shaders/kv_window.wgsl.ts";
import { assert } from "../core/assert.ts";
import { type HeadShape, SCORE_MAX } from "../ops/backend.ts";
import type { GpuKvJobs } from "./compression.ts";
import { foldedGrid, GRID_MAX } from "./grid.ts";
import { floatBits, type GpuKvPages, type GpuTensor, type Recorder } from "./recorder.ts";

/** Slots of one workgroup of kernels with a thread a slot. */
const SLOTS = 64;

interface PlainOperands {
  readonly pages: GpuKvPages;
  readonly jobs: GpuKvJobs;
  readonly scores: GpuTensor;
}

export interface GpuScoreOperands extends PlainOperands {
  readonly shape: HeadShape;
}

const kvChunk: Kernel = {
  key: "kv_chunk",
  code: kvChunkCode,
  bindings: ["read", "read", "read_write"],
  paramWords: 4,
};

export function recordKvNorm(recorder: Recorder, o: PlainOperands): void {
  const rows = rowsOf(o);
  recorder.dispatch(
    kvNormKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, ...o.pages.shards, o.scores.buffer],
    [rows, o.jobs.slotsMax, shardShift(o.pages)],
    slotGrid(o.jobs.slotsMax, SLOTS, rows),
  );
}

export function recordKvKeyDiff(recorder: Recorder, o: PlainOperands): void {
  const rows = rowsOf(o);
  recorder.dispatch(
    kvKeyDiffKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, ...o.pages.shards, o.scores.buffer],
    [rows, o.jobs.slotsMax, shardShift(o.pages)],
    foldedGrid(rows),
  );
}

export function recordKvLag(
  recorder: Recorder,
  o: PlainOperands & { sinks: number; lag: number; cross: boolean },
): void {
  const rows = rowsOf(o), { slotsMax } = o.jobs;
  assert(o.lag >= 2 && o.lag <= LAG_MAX, "a partition fits shared memory");
  recorder.dispatch(
    kvLagKernel(layoutOf(o.pages)),
    [o.jobs.indices.buffer, ...o.pages.shards, o.scores.buffer],
    [rows, slotsMax, shardShift(o.pages), o.sinks, o.lag, Number(o.cross)],
    slotGrid(slotsMax, o.lag, rows),
  );
}

export function recordKvWindow(
  recorder: Recorder,
  o: GpuScoreOperands & { scale: number; window: number; kernel: number; shared: boolean },
): void {
  const { shape, pages, jobs: { jobs, slotsMax, indices } } = o, layout = layoutOf(pages);
  const { heads, kvHeads } = shape, rows = rowsOf(o);
  const found = recorder.scratch(jobs * heads, 2 * o.window, "f32");
  const mean = recorder.scratch(rows, slotsMax, "f32");
  const params = [slotsMax, shardShift(pages), o.window, floatBits(o.scale)];
  const perJob = (x: number, y: number) => jobGrid(x, y, jobs);
  recorder.dispatch(
    kvWindowRowsKernel(shape, layout),
    [indices.buffer, ...pages.shards, found.buffer],
    params,
    perJob(o.window, heads),
  );
  recorder.dispatch(
    kvWindowMeanKernel(shape, layout),
    [indices.buffer, ...pages.shards, found.buffer, mean.buffer],
    params,
    perJob(Math.ceil(slotsMax / SLOTS), kvHeads),
  );
  recorder.dispatch(
    kvWindowKernel(),
    [indices.buffer, mean.buffer, o.scores.buffer],
    [kvHeads, slotsMax, o.window, o.kernel, Number(o.shared)],
    [jobs, 1, 1],
  );
  recorder.release(found);
  recorder.release(mean);
}

export function recordKvExpected(
  recorder: Recorder,
  o: GpuScoreOperands & {
    scale: number;
    rotary: GpuTensor;
    sinks: number;
    covariance: boolean;
    valueNorm: boolean;
    epsilon: number;
  },
): void {
  const { shape, pages, jobs: { jobs, slotsMax, indices } } = o, layout = layoutOf(pages);
  const { heads, kvHeads, headDim } = shape;
  assert(o.rotary.rows === jobs && o.rotary.cols === headDim, "rotary has a row a job");
  rowsOf(o);
  const turned = recorder.scratch(jobs * heads, headDim + headDim ** 2, "f32");
  const weights = recorder.scratch(jobs * heads, slotsMax, "f32");
  const params = [
    ...[slotsMax, shardShift(pages), o.sinks, floatBits(o.scale)],
    ...[Number(o.covariance), Number(o.valueNorm), floatBits(o.epsilon)],
  ];
  const bound = (...last: GpuTensor[]) => [
    indices.buffer,
    ...pages.shards,
    ...last.map((tensor) => tensor.buffer),
  ];
  assert(jobs <= GRID_MAX, "jobs fit one grid dimension");
  recorder.dispatch(kvTurnMomentsKernel(shape, layout), bound(o.rotary, turned), params, [heads, jobs, 1]);
  recorder.dispatch(kvExpectedWeightsKernel(shape, layout), bound(turned, weights), params, [heads, jobs, 1]);
  const grid = jobGrid(Math.ceil(slotsMax / SLOTS), kvHeads, jobs);
  recorder.dispatch(kvExpectedKernel(shape, layout), bound(weights, o.scores), params, grid);
  recorder.release(turned);
  recorder.release(weights);
}

export function recordKvColumns(
  recorder: Recorder,
  o: GpuScoreOperands & { seen: boolean; bias: GpuTensor | null },
): void {
  const { shape: { heads, kvHeads }, pages, jobs: { jobs, slotsMax, indices } } = o;
  rowsOf(o);
  recorder.dispatch(
    kvColumnsKernel(layoutOf(pages)),
    // Without a bias something must be bound all the same.
    [indices.buffer, ...pages.shards, o.bias?.buffer ?? indices.buffer, o.scores.buffer],
    [slotsMax, shardShift(pages), heads / kvHeads, Number(o.seen), Number(o.bias !== null)],
    jobGrid(Math.ceil(slotsMax / SLOTS), kvHeads, jobs),
  );
}

export function recordKvChunk(
  recorder: Recorder,
  o: { jobs: GpuKvJobs; kvHeads: number; chunk: number; scores: GpuTensor; out: GpuTensor },
): void {
  const { jobs: { jobs, slotsMax, indices }, kvHeads, chunk } = o;
  assert(jobs <= GRID_MAX, "jobs fit one grid dimension");
  recorder.dispatch(
    kvChunk,
    [indices.buffer, o.scores.buffer, o.out.buffer],
    [kvHeads, slotsMax, chunk, floatBits(SCORE_MAX)],
    [Math.ceil(Math.ceil(slotsMax / chunk) / SLOTS), jobs, 1],
  );
}

export function layoutOf(pages: GpuKvPages): KvLayout {
  return kvLayout(pages.shape, pages.shards.length);
}

export function shardShift(pages: GpuKvPages): number {
  return Math.log2(pages.pagesPerShard);
}

/** x over the slots of a row, y and z over rows: a kernel's row is group.y + group.z · groups.y. */
export function slotGrid(slots: number, perGroup: number, rows: number): [x: number, y: number, z: number] {
  const x = Math.ceil(slots / perGroup);
  assert(x <= GRID_MAX, "slots of a job fit one grid dimension");
  const [y, z] = foldedGrid(rows);
  return [x, y, z];
}

function jobGrid(x: number, y: number, jobs: number): [x: number, y: number, z: number] {
  assert(jobs <= GRID_MAX, "jobs fit one grid dimension");
  return [x, y, jobs];
}

/** Rows of scores, as many as they must be. */
function rowsOf({ pages, jobs, scores }: PlainOperands): number {
  const rows = jobs.jobs * pages.shape.kvHeads;
  assert(scores.rows === rows && scores.cols === jobs.slotsMax, "scores have a row a job and head");
  return rows;
}
