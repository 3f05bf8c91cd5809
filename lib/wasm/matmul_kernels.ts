/** The kernels of matmul, compiled on first use: tiles and expansion by weight format, and the epilogue. */
import type { Activation } from "../ops/backend.ts";
import { activation } from "./activation.ts";
import {
  doWhile,
  F32,
  f32x4,
  get,
  I32,
  i32,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  type ValueType,
} from "./emit.ts";
import type { Kernel, Kernels, Machine } from "./machine.ts";
import { PANEL } from "./panel.ts";
import type { QuantisedFormat } from "./quantised.ts";
import { addDot, addExact, addQuantisedExpand, DOT_ROWS } from "./quantised_tile.ts";
import { addTile, loadWeights, TILE_ROWS, WEIGHT_STEP_BYTES, type WeightFormat } from "./tile.ts";
import { isQuantised, type StorageFormat } from "./weights.ts";

/** Panels that one call takes: enough independent chains to hide the latency of a multiply-add. */
export function panelsAtOnce(format: StorageFormat, rows: number, dot: boolean): number {
  if (isQuantised(format)) return dot && rows === 1 ? 2 : 1;
  if (rows === 1) return 4;
  if (rows === 2) return format === "f32" ? 2 : 4; // other formats go row by row
  return 1;
}

/** Tiles of one format. Formats other than f32 have the single-row tile and the expansion of a panel. */
function buildTiles(format: WeightFormat): ModuleBuilder {
  const module = new ModuleBuilder(true);
  for (const rows of format === "f32" ? range(TILE_ROWS).map((r) => r + 1) : [1]) {
    for (const panels of new Set([1, panelsAtOnce(format, rows, false)])) {
      addTile(module, `${rows}x${panels}`, { rows, panels, format });
    }
  }
  if (format !== "f32") addExpand(module, format);
  return module;
}

/** expand(panel, to, k · 4, scale): one panel to f32, [k][8], inside the weight memory. */
function addExpand(module: ModuleBuilder, format: WeightFormat): void {
  module.add("expand", [I32, I32, I32, F32], (f, panel, to, kBytes, scale) => {
    const end = f.i32(), factor = f.v128();
    const step = WEIGHT_STEP_BYTES[format];
    return sequence(
      set(factor, f32x4.splat(get(scale))),
      set(end, i32.add(get(to), i32.mul(get(kBytes), i32.const(PANEL)))),
      doWhile(
        i32.ltU(get(to), get(end)),
        ...range(8).map((half) =>
          v128.store(
            get(to),
            f32x4.mul(loadWeights(f, format, panel, half * step / 2), get(factor)),
            half * 16,
            1,
          )
        ),
        set(panel, i32.add(get(panel), i32.const(4 * step))),
        set(to, i32.add(get(to), i32.const(4 * 32))),
      ),
    );
  });
}

/**
 * 0x{panels}(sums, out, bytes between rows of out, bias, residual, bytes between rows of residual, rows); `panels` panels at a time.
 */
function addEpilogue(module: ModuleBuilder, kind: Activation, residual: boolean, panels: number): void {
  const parameters: ValueType[] = [I32, I32, I32, I32, I32, I32, I32];
  module.add(`0x${panels}`, parameters, (f, sums, out, outStride, bias, from, fromStride, rows) => {
    const vectors = 2 * panels;
    const biases = f.vectors(vectors), x = f.v128(), temporaries = f.vectors(6);
    return sequence(
      ...biases.map((b, v) => set(b, v128.load(get(bias), v * 16))),
      doWhile(
        get(rows),
        ...biases.map((b, v) => {
          const value = sequence(
            set(x, f32x4.add(v128.load(get(sums), v * 16), get(b))),
            activation(f, kind, x, temporaries),
          );
          return sequence(
            set(x, residual ? f32x4.add(v128.load(get(from), v * 16), value) : value),
            v128.store(get(out), get(x), v * 16),
          );
        }),
        set(sums, i32.add(get(sums), i32.const(vectors * 16))),
        set(out, i32.add(get(out), get(outStride))),
        set(from, i32.add(get(from), get(fromStride))),
        set(rows, i32.sub(get(rows), i32.const(1))),
      ),
    );
  });
}

export function tilesOf(machine: Machine, format: WeightFormat, memory: number): Kernels {
  return machine.kernels(TILE_KEYS[format], () => buildTiles(format), memory);
}

export function exactKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(EXACT_KEYS[format], () => {
    const module = new ModuleBuilder(true);
    addExact(module, format);
    addQuantisedExpand(module, format);
    return module;
  }, memory);
}

export function dotKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(DOT_KEYS[format], () => {
    const module = new ModuleBuilder(true);
    for (const rows of range(DOT_ROWS).map((r) => r + 1)) {
      for (const panels of new Set([1, panelsAtOnce(format, rows, true)])) {
        addDot(module, format, rows, panels);
      }
    }
    return module;
  }, memory);
}

const TILE_KEYS: Readonly<Record<WeightFormat, string>> = {
  f32: "matmul f32",
  f16: "matmul f16",
  bf16: "matmul bf16",
};
const EXACT_KEYS: Readonly<Record<QuantisedFormat, string>> = { int8: "exact int8", int4: "exact int4" };
const DOT_KEYS: Readonly<Record<QuantisedFormat, string>> = { int8: "dot int8", int4: "dot int4" };

/** The epilogue of an activation, with or without a residual, by the panels that it takes. */
export function epilogues(machine: Machine, kind: Activation, residual: boolean): readonly Kernel[] {
  const kernels = machine.kernels(`epilogue ${kind} ${residual}`, () => {
    const module = new ModuleBuilder();
    for (const panels of [1, 2, 4]) addEpilogue(module, kind, residual, panels);
    return module;
  });
  return machine.table(kernels)[0];
}
