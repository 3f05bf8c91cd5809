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
import { TILE_PARAMETERS } from "./sweep.ts";

export const TILE_ROWS = 6;

/** How a weight is turned into f32: as it is; a half shifted into an f32 (value · 2^−112); the upper half of an f32. */
export type WeightFormat = "f32" | "f16" | "bf16";

export const WEIGHT_STEP_BYTES: Record<WeightFormat, number> = { f32: 32, f16: 16, bf16: 16 };

/**
 * Eight weights of one k at `pointer + offset` in memory 1 as f32: outputs 0 … 3 to the first of `into`, 4 … 7 to the
 * second. A 32-bit lane holds two halves, the first four outputs' low (see columnOf in weights.ts). A half moved three
 * bits down from the top of a lane has its exponent where f32 has it; copies of its sign and what was below it go.
 */
export function widenStep(
  f: FunctionBuilder,
  format: WeightFormat,
  pointer: Local,
  offset: number,
  [low, high]: readonly Local[],
): Code {
  const load = v128.load(get(pointer), offset, 1), sixteen = i32.const(16);
  if (format === "f32") return sequence(set(low, load), set(high, v128.load(get(pointer), offset + 16, 1)));
  if (format === "bf16") {
    return sequence(
      set(low, load),
      set(high, v128.and(get(low), f.splatI32(0xffff_0000 | 0))),
      set(low, i32x4.shl(get(low), sixteen)),
    );
  }
  const widened = (top: Code) => v128.and(i32x4.shrS(top, i32.const(3)), f.splatI32(0x8fff_e000 | 0));
  return sequence(
    set(low, load),
    set(high, widened(get(low))),
    set(low, widened(i32x4.shl(get(low), sixteen))),
  );
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
      const weights = f.vectors(2), values = f.vectors(panels === 1 ? 1 : rows);
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
      const activate = (r: number, k: number) => set(values[r % values.length], activation(row[r], k * 4));
      const accumulate = (r: number, p: number) =>
        sequence(...weights.map((w, half) => {
          const sum = sums[r][2 * p + half];
          return set(sum, f32x4.fma(get(values[r % values.length]), get(w), get(sum)));
        }));
      const widen = (p: number, k: number) => widenStep(f, format, panel[p], k * stepBytes, weights);
      // No more vectors than a processor has registers: two of weights, and one activation at a time or one panel.
      const step = (k: number) =>
        panels === 1
          ? sequence(
            widen(0, k),
            ...range(rows).map((r) => sequence(activate(r, k), accumulate(r, 0))),
          )
          : sequence(
            ...range(rows).map((r) => activate(r, k)),
            ...range(panels).map((p) => sequence(widen(p, k), ...range(rows).map((r) => accumulate(r, p)))),
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
