/** Records the dense operations: matmul, gated. */
import { assert } from "../core/assert.ts";
import type { Activation } from "../ops/backend.ts";
import { gated } from "../../shaders/gated.wgsl.ts";
import { matmul, type MatmulTile } from "../../shaders/matmul.wgsl.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuMatrix, GpuTensor, Recorder } from "./recorder.ts";

/**
 * The tile for `rows` × `columns` outputs. Every tile gives the same bits, so this is about speed alone. Eight columns
 * an invocation save the most loads; on hardware, too few invocations to fill it cost more than loads do.
 */
export function matmulTile(rows: number, columns: number, wide: boolean): MatmulTile {
  const tileRows = rows >= 8 ? 8 : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
  const tiles = Math.ceil(rows / tileRows) * Math.ceil(columns / 8);
  if (wide && tiles < WIDE_INVOCATIONS) {
    return { rows: tileRows, columns: 1, lanesX: 32, lanesY: 1, chunks: tileRows <= 2 ? 4 : 2 };
  }
  if (!wide) return { rows: tileRows, columns: 8, lanesX: 8, lanesY: 1, chunks: 1 };
  return rows >= 64
    ? { rows: tileRows, columns: 8, lanesX: 8, lanesY: 8, chunks: 1 }
    : { rows: tileRows, columns: 8, lanesX: 32, lanesY: 1, chunks: 1 };
}

/** Invocations below which a graphics processor idles: a small one runs about this many at a time. */
const WIDE_INVOCATIONS = 16_384;

/** out[m,n] = residual[m,n] + activation(Σ_k x[m,k] · weight[n,k] + bias[n]). */
export function recordMatmul(
  recorder: Recorder,
  o: {
    x: GpuTensor;
    weight: GpuMatrix;
    bias?: GpuTensor | null;
    activation?: Activation;
    residual?: GpuTensor | null;
    out: GpuTensor;
  },
): void {
  const { x, weight, out } = o;
  const bias = o.bias ?? null;
  const residual = o.residual ?? null;
  assert(x.cols === weight.cols, `matmul: x has ${x.cols} columns, the weight ${weight.cols}`);
  assert(out.rows === x.rows && out.cols === weight.rows, "matmul: out is [M, N]");
  assert(out.buffer !== x.buffer, "matmul: out is not x");
  assert(bias === null || bias.rows * bias.cols === weight.rows, "matmul: bias is [1, N]");
  assert(
    residual === null || residual.rows === out.rows && residual.cols === out.cols,
    "matmul: residual is [M, N]",
  );
  const tile = matmulTile(x.rows, out.cols, !recorder.tuning.software);
  // One buffer cannot be bound for reading and for writing at once.
  const inPlace = residual !== null && residual.buffer === out.buffer;
  const kernel = matmul(weight.dtype, tile, {
    bias: bias !== null,
    activation: o.activation ?? "none",
    residual: residual === null ? "none" : inPlace ? "in place" : "other",
  });
  const operands = [
    ...(bias === null ? [] : [bias.buffer]),
    ...(residual === null || inPlace ? [] : [residual.buffer]),
    out.buffer,
  ];
  for (const slice of weight.slices) {
    recorder.dispatch(
      kernel,
      [x.buffer, slice.buffer, ...operands],
      [x.rows, out.cols, x.cols / 4, slice.firstRow, slice.rows],
      [
        Math.ceil(x.rows / (tile.rows * tile.lanesY)),
        Math.ceil(slice.rows / (tile.columns * tile.lanesX)),
        1,
      ],
    );
  }
}

/** out[t,i] = activation(x[t,i]) · x[t, I + i]. */
export function recordGated(
  recorder: Recorder,
  o: { x: GpuTensor; activation: Activation; out: GpuTensor },
): void {
  const { x, activation, out } = o;
  assert(x.rows === out.rows && x.cols === 2 * out.cols, "gated: x is [T, 2·I] and out [T, I]");
  const { workgroup } = recorder.tuning;
  recorder.dispatch(
    gated(activation, workgroup),
    [x.buffer, out.buffer],
    [out.rows, out.cols],
    foldedGrid(Math.ceil(out.rows * out.cols / workgroup)),
  );
}
