/** Records kv_fold: groups of keys, and of values, are read as rows, multiplied by three matrices and stored. */
import { kvLayout, type KvPart } from "../../shaders/kv_address.wgsl.ts";
import { kvFoldReadKernel } from "../../shaders/kv_fold_read.wgsl.ts";
import { kvFoldWriteKernel } from "../../shaders/kv_fold_write.wgsl.ts";
import { assert } from "../core/assert.ts";
import type { FoldLayer, FoldNetwork } from "../ops/backend.ts";
import { KV_GROUP_WORDS, KV_RAW } from "../ops/kv.ts";
import type { GpuKvJobs } from "./compression.ts";
import { recordMatmul } from "./dense.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuIndices, GpuKvPages, GpuMatrix, GpuTensor, Recorder } from "./recorder.ts";

/** Invocations of one workgroup of the reading and the writing kernel. */
const WORKGROUP = 64;
/** Rows of one product at most: as many as a forward step has tokens. */
const ROWS_MAX = 4096;

/** Groups of one layer and network, a bounded number. */
interface Part {
  readonly pages: GpuKvPages;
  readonly jobs: GpuKvJobs;
  readonly groups: GpuIndices;
  readonly factor: number;
  readonly layer: number;
}

export function recordKvFold(
  recorder: Recorder,
  { layers, groups, ...o }: Omit<Part, "layer" | "factor"> & { readonly layers: readonly FoldLayer[] },
): void {
  const most = Math.max(1, Math.floor(ROWS_MAX / o.pages.shape.kvHeads));
  for (const [index, { keys }] of layers[0].networks.entries()) {
    const factor = keys[0].weight.cols / o.pages.shape.headDim;
    for (const words of partsOf(groups.values, index, most)) {
      const part = { ...o, groups: recorder.upload(words), factor };
      for (const { layer, networks } of layers) {
        fold(recorder, { ...part, layer }, "key", networks[index].keys);
        fold(recorder, { ...part, layer }, "value", networks[index].values);
      }
    }
  }
  for (const words of partsOf(groups.values, KV_RAW, most)) {
    const part = { ...o, groups: recorder.upload(words), factor: 1 };
    for (const { layer } of layers) {
      fold(recorder, { ...part, layer }, "key", []);
      fold(recorder, { ...part, layer }, "value", []);
    }
  }
}

/** Groups of the networks `index`, or raw ones, at most so many at a time. */
function partsOf(groups: Uint32Array, index: number, most: number): Uint32Array[] {
  const own: Uint32Array[] = [];
  for (let at = 0; at < groups.length; at += KV_GROUP_WORDS) {
    if (groups[at + 3] === index) own.push(groups.subarray(at, at + KV_GROUP_WORDS));
  }
  return Array.from({ length: Math.ceil(own.length / most) }, (_, part) => {
    const some = own.slice(part * most, (part + 1) * most);
    const words = new Uint32Array(some.length * KV_GROUP_WORDS);
    for (const [i, group] of some.entries()) words.set(group, i * KV_GROUP_WORDS);
    return words;
  });
}

/** Without a network: copies. */
function fold(recorder: Recorder, part: Part, of: KvPart, network: FoldNetwork | []): void {
  let x = read(recorder, part, of);
  for (const [index, { weight, bias }] of network.entries()) {
    const out = recorder.scratch(x.rows, weight.rows, "f32");
    const activation = index < network.length - 1 ? "relu" : "none";
    // Both were made by this backend.
    recordMatmul(recorder, { x, weight: weight as GpuMatrix, bias: bias as GpuTensor, activation, out });
    recorder.release(x);
    x = out;
  }
  write(recorder, part, of, x);
  recorder.release(x);
}

function read(recorder: Recorder, { pages, jobs, groups, factor, layer }: Part, of: KvPart): GpuTensor {
  const { kvHeads, headDim } = pages.shape;
  const out = recorder.scratch(groups.values.length / KV_GROUP_WORDS * kvHeads, factor * headDim, "f32");
  recorder.dispatch(
    kvFoldReadKernel(kvLayout(pages.shape, pages.shards.length), of),
    [jobs.indices.buffer, groups.buffer, ...pages.shards, out.buffer],
    [out.rows, factor, layer, Math.log2(pages.pagesPerShard)],
    foldedGrid(Math.ceil(out.rows * out.cols / 4 / WORKGROUP)),
  );
  return out;
}

function write(recorder: Recorder, { pages, jobs, groups, layer }: Part, of: KvPart, x: GpuTensor): void {
  assert(x.cols === pages.shape.headDim, "a row is one slot of one head");
  recorder.dispatch(
    kvFoldWriteKernel(kvLayout(pages.shape, pages.shards.length), of),
    [jobs.indices.buffer, groups.buffer, x.buffer, ...pages.shards],
    [x.rows, layer, Math.log2(pages.pagesPerShard)],
    foldedGrid(Math.ceil(x.rows * x.cols / 4 / WORKGROUP)),
  );
}
