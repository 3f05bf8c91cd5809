/**
 * The register tile of matmul: c[r, n] = Σ_k a[r, k] · panel[k, n] for up to 6 rows and 8 · panels columns.
 * One fused multiply-add chain per output, k ascending, whatever the number of rows and panels: rows are bit-identical
 * in every tile. Unrolled 8 times over k, with a tail of 4 (k is a multiple of 4).
 */
import {
  type Code,
  doWhile,
  F32,
  f32x4,
  type FunctionBuilder,
  get,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  when,
} from "./emit.ts";
import { widenHalves } from "./half.ts";
import { TILE_PARAMETERS } from "./sweep.ts";

export const TILE_ROWS = 6;

/** How a weight is turned into f32: as it is; a half shifted into an f32 (value · 2^−112); the upper half of an f32. */
export type WeightFormat = "f32" | "f16" | "bf16";

export const WEIGHT_STEP_BYTES: Record<WeightFormat, number> = { f32: 32, f16: 16, bf16: 16 };

/** Four weights of one k at `pointer + offset` in memory 1. */
export function loadWeights(f: FunctionBuilder, format: WeightFormat, pointer: Local, offset: number): Code {
  switch (format) {
    case "f32":
      return v128.load(get(pointer), offset, 1);
    case "f16":
      return widenHalves(f, get(pointer), offset, 1);
    case "bf16":
      return i32x4.shl(v128.load16x4U(get(pointer), offset, 1), i32.const(16));
  }
}

/**
 * Adds one tile function and returns its index. Its length is k · 4; for f16 the scale of the weights follows as a last
 * f32 parameter, folded into the activation.
 */
export function addTile(
  module: ModuleBuilder,
  shape: { rows: number; panels: number; format: WeightFormat },
): number {
  const { rows, panels, format } = shape;
  const vectors = 2 * panels;
  const stepBytes = WEIGHT_STEP_BYTES[format];
  return module.add(
    `${rows} rows, ${panels} panels`,
    format === "f16" ? [...TILE_PARAMETERS, F32] : TILE_PARAMETERS,
    (f, ...parameters) => {
      const [a, aStride, b, bStride, c, cStride, kBytes, scale] = parameters;
      const row = f.pointers(rows), panel = f.pointers(panels), end = f.i32();
      const sums = range(rows).map(() => f.vectors(vectors));
      const weights = f.vectors(vectors), value = f.v128();
      const factor = format === "f16" ? f.v128() : null;
      const cRow = f.i32();

      const chase = (pointers: readonly Local[], first: Local, stride: Local) =>
        sequence(
          ...pointers.map((p, i) =>
            set(p, i === 0 ? get(first) : i32.add(get(pointers[i - 1]), get(stride)))
          ),
        );
      const activation = (pointer: Local, offset: number): Code => {
        const splat = v128.load32Splat(get(pointer), offset);
        return factor === null ? splat : f32x4.mul(splat, get(factor));
      };
      const step = (k: number) =>
        sequence(
          ...weights.map((w, v) =>
            set(w, loadWeights(f, format, panel[v >> 1], k * stepBytes + (v & 1) * (stepBytes / 2)))
          ),
          ...sums.map((row_, r) =>
            sequence(
              set(value, activation(row[r], k * 4)),
              ...row_.map((sum, v) => set(sum, f32x4.fma(get(value), get(weights[v]), get(sum)))),
            )
          ),
        );
      const advance = (steps: number) =>
        sequence(
          ...row.map((p) => set(p, i32.add(get(p), i32.const(steps * 4)))),
          ...panel.map((p) => set(p, i32.add(get(p), i32.const(steps * stepBytes)))),
        );
      const overRows = (visit: (r: number) => Code) =>
        sequence(
          set(cRow, get(c)),
          ...range(rows).map((r) =>
            sequence(visit(r), r < rows - 1 ? set(cRow, i32.add(get(cRow), get(cStride))) : [])
          ),
        );
      return sequence(
        factor === null ? [] : set(factor, f32x4.splat(get(scale))),
        chase(row, a, aStride),
        chase(panel, b, bStride),
        ...sums.flat().map((sum) => set(sum, v128.constF32(0))),
        set(end, i32.add(get(a), i32.and(get(kBytes), i32.const(~31)))),
        when(
          i32.ltU(get(a), get(end)),
          doWhile(i32.ltU(get(row[0]), get(end)), ...range(8).map(step), advance(8)),
        ),
        when(i32.and(get(kBytes), i32.const(16)), ...range(4).map(step)),
        overRows((r) => sequence(...sums[r].map((sum, v) => v128.store(get(cRow), get(sum), v * 16)))),
      );
    },
    false,
  );
}
