/** The kernels of matmul, compiled on first use: tiles and expansion by weight format, and the epilogue. */
import type { Activation } from "../ops/backend.ts";
import { activation } from "./activation.ts";
import { doWhile, F32, f32x4, get, I32, i32, ModuleBuilder, range, sequence, set, v128 } from "./emit.ts";
import type { Kernel, Kernels, Machine } from "./machine.ts";
import { PANEL } from "./panel.ts";
import type { QuantisedFormat } from "./quantised.ts";
import { addDot, addExact, addQuantisedExpand, DOT_ROWS } from "./quantised_tile.ts";
import { addSweep, type TileOfRows } from "./sweep.ts";
import { addTile, TILE_ROWS, WEIGHT_STEP_BYTES, type WeightFormat, widenStep } from "./tile.ts";

/** Rows up to which halves are widened inside the tile; more rows expand a panel once for all of them. */
export const DIRECT_ROWS = 4;
/** The same for the exact family, which takes a row at a time. */
export const EXACT_ROWS = 2;

/** Panels at a time: enough independent chains to hide the latency of a multiply-add. */
const PANELS_OF_ROWS = [4, 2];

/** Tiles by height, as `tile(rows, panels)` adds them. */
function tilesTo(height: number, wide: readonly number[], tile: (rows: number, panels: number) => number) {
  return range(height).map((index): TileOfRows => {
    const panels = wide[index], one = tile(index + 1, 1);
    return panels === undefined ? { one } : { one, wide: { panels, tile: tile(index + 1, panels) } };
  });
}

/** Tiles of one format. Formats other than f32 have tiles of few rows, and the expansion of a panel. */
function buildTiles(format: WeightFormat): ModuleBuilder {
  const module = new ModuleBuilder(true);
  const tiles = tilesTo(
    format === "f32" ? TILE_ROWS : DIRECT_ROWS,
    PANELS_OF_ROWS,
    (rows, panels) => addTile(module, { rows, panels, format }),
  );
  addSweep(module, tiles, format === "f16");
  if (format !== "f32") addExpand(module, format);
  return module;
}

/** expand(panel, to, k · 4, scale): one panel to f32, [k][8], inside the weight memory. */
function addExpand(module: ModuleBuilder, format: WeightFormat): void {
  module.add("expand", [I32, I32, I32, F32], (f, panel, to, kBytes, scale) => {
    const end = f.i32(), factor = f.v128(), weights = f.vectors(2);
    const step = WEIGHT_STEP_BYTES[format];
    return sequence(
      set(factor, f32x4.splat(get(scale))),
      set(end, i32.add(get(to), i32.mul(get(kBytes), i32.const(PANEL)))),
      doWhile(
        i32.ltU(get(to), get(end)),
        ...range(4).map((k) =>
          sequence(
            widenStep(f, format, panel, k * step, weights),
            ...weights.map((w, half) =>
              v128.store(get(to), f32x4.mul(get(w), get(factor)), k * 32 + half * 16, 1)
            ),
          )
        ),
        set(panel, i32.add(get(panel), i32.const(4 * step))),
        set(to, i32.add(get(to), i32.const(4 * 32))),
      ),
    );
  });
}

/**
 * epilogue(sums, bytes between rows of sums, out, bytes between rows of out, bias, residual, bytes between rows of
 * residual, rows, bytes of a row's panels).
 */
function addEpilogue(module: ModuleBuilder, kind: Activation, residual: boolean): void {
  const types = [I32, I32, I32, I32, I32, I32, I32, I32, I32];
  module.add(
    "epilogue",
    types,
    (f, sums, sumsStride, out, outStride, bias, from, fromStride, rows, bytes) => {
      const s = f.i32(), o = f.i32(), b = f.i32(), r = f.i32(), end = f.i32();
      const x = f.v128(), temporaries = f.vectors(6);
      const half = (v: number) => {
        const value = sequence(
          set(x, f32x4.add(v128.load(get(s), v * 16), v128.load(get(b), v * 16))),
          activation(f, kind, x, temporaries),
        );
        return sequence(
          set(x, residual ? f32x4.add(v128.load(get(r), v * 16), value) : value),
          v128.store(get(o), get(x), v * 16),
        );
      };
      return doWhile(
        get(rows),
        set(s, get(sums)),
        set(o, get(out)),
        set(b, get(bias)),
        set(r, get(from)),
        set(end, i32.add(get(s), get(bytes))),
        doWhile(
          i32.ltU(get(s), get(end)),
          half(0),
          half(1),
          ...[s, o, b, ...(residual ? [r] : [])].map((p) => set(p, i32.add(get(p), i32.const(PANEL * 4)))),
        ),
        set(sums, i32.add(get(sums), get(sumsStride))),
        set(out, i32.add(get(out), get(outStride))),
        set(from, i32.add(get(from), get(fromStride))),
        set(rows, i32.sub(get(rows), i32.const(1))),
      );
    },
  );
}

export function tilesOf(machine: Machine, format: WeightFormat, memory: number): Kernels {
  return machine.kernels(TILE_KEYS[format], () => buildTiles(format), memory);
}

export function exactKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(EXACT_KEYS[format], () => {
    const module = new ModuleBuilder(true);
    addSweep(module, tilesTo(1, [2], (_, panels) => addExact(module, format, panels)), false);
    addQuantisedExpand(module, format);
    return module;
  }, memory);
}

export function dotKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(DOT_KEYS[format], () => {
    const module = new ModuleBuilder(true);
    const tiles = tilesTo(DOT_ROWS, [2], (rows, panels) => addDot(module, format, rows, panels));
    addSweep(module, tiles, false);
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

/** The epilogue of an activation, with or without a residual. */
export function epilogueOf(machine: Machine, kind: Activation, residual: boolean): Kernel {
  return machine.kernels(`epilogue ${kind} ${residual}`, () => {
    const module = new ModuleBuilder();
    addEpilogue(module, kind, residual);
    return module;
  }).epilogue;
}
