/** Records the operations that move rows: embed, gather_rows, scatter_rows. */
import { assert } from "../core/assert.ts";
import { embed } from "../../shaders/embed.wgsl.ts";
import { gatherRows } from "../../shaders/gather_rows.wgsl.ts";
import { scatterRows } from "../../shaders/scatter_rows.wgsl.ts";
import type { Kernel } from "../../shaders/kernel.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuIndices, GpuMatrix, GpuTensor, Recorder } from "./recorder.ts";

/** out[t] = tokens[t] < 2^31 ? table[tokens[t]] : features[tokens[t] − 2^31]. */
export function recordEmbed(
  recorder: Recorder,
  o: { table: GpuMatrix; features: GpuTensor | null; tokens: GpuIndices; out: GpuTensor },
): void {
  const { table, features, tokens, out } = o;
  assert(out.cols === table.cols && out.rows === tokens.values.length, "embed: out is [tokens, dim]");
  assert(features === null || features.cols === table.cols, "embed: features are [·, dim]");
  const { workgroup } = recorder.tuning;
  const kernel = embed(table.dtype, features !== null, workgroup);
  const chunks = out.cols / 4;
  const shared = [tokens.buffer, ...(features === null ? [] : [features.buffer]), out.buffer];
  for (const slice of table.slices) {
    recorder.dispatch(
      kernel,
      [slice.buffer, ...shared],
      [out.rows, chunks, slice.firstRow, slice.rows],
      foldedGrid(Math.ceil(out.rows * chunks / workgroup)),
    );
  }
}

/** out[i] = x[rows[i]]. */
export function recordGatherRows(
  recorder: Recorder,
  o: { x: GpuTensor; rows: GpuIndices; out: GpuTensor },
): void {
  assert(o.out.rows === o.rows.values.length, "gather_rows: out is [rows, dim]");
  recordMove(recorder, gatherRows, o);
}

/** out[rows[i]] = x[i]. */
export function recordScatterRows(
  recorder: Recorder,
  o: { x: GpuTensor; rows: GpuIndices; out: GpuTensor },
): void {
  assert(o.x.rows === o.rows.values.length, "scatter_rows: x is [rows, dim]");
  recordMove(recorder, scatterRows, o);
}

function recordMove(
  recorder: Recorder,
  kernelOf: (width: 1 | 4, workgroup: number) => Kernel,
  o: { x: GpuTensor; rows: GpuIndices; out: GpuTensor },
): void {
  assert(o.x.cols === o.out.cols, "rows move between equal columns");
  const width = o.x.cols % 4 === 0 ? 4 : 1;
  const { workgroup } = recorder.tuning;
  const count = o.rows.values.length;
  const chunks = o.x.cols / width;
  recorder.dispatch(
    kernelOf(width, workgroup),
    [o.x.buffer, o.rows.buffer, o.out.buffer],
    [count, chunks],
    foldedGrid(Math.ceil(count * chunks / workgroup)),
  );
}
