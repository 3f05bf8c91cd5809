/**
 * matmul: out[m, n] = residual[m, n] + activation(Σ_k x[m, k] · weight[n, k] + bias[n]); k ascending, one chain an output.
 * Threads take whole panels of 8 outputs. Per panel: sums of all rows go to the thread's scratch, then an epilogue adds
 * bias, activation and residual. One or two rows read f16 and bf16 panels directly; more rows expand a panel to f32 once.
 * Both give the same bits, because widening is exact.
 */
import type { Activation } from "../ops/backend.ts";
import { activation, ACTIVATIONS } from "./activation.ts";
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
import { floatOf } from "./bits.ts";
import type { Kernels, Machine } from "./machine.ts";
import { EXPANSION_BYTES, ZEROS } from "./layout.ts";
import { PANEL } from "./panel.ts";
import { groups, type QuantisedFormat } from "./quantised.ts";
import {
  addDot,
  addExact,
  addQuantisedExpand,
  addQuantiseRow,
  DOT_ROWS,
  ROW_GROUP_BYTES,
} from "./quantised_tile.ts";
import { addTile, loadWeights, TILE_ROWS, WEIGHT_STEP_BYTES, type WeightFormat } from "./tile.ts";
import { isQuantised, type StorageFormat } from "./weights.ts";

/** Words of a recorded matmul. Addresses are bytes; 0 is "none". */
export const MatmulWord = {
  x: 0,
  rows: 1,
  cols: 2,
  memory: 3,
  panel: 4,
  panels: 5,
  panelStride: 6,
  format: 7,
  scale: 8,
  outputs: 9,
  bias: 10,
  activation: 11,
  residual: 12,
  out: 13,
  /** Rows of x quantised by `quantise_rows`, for the dot family; 0 for the exact one. */
  quantised: 14,
} as const;

export const QuantiseWord = { x: 0, rows: 1, cols: 2, out: 3 } as const;

export const FORMATS: readonly StorageFormat[] = ["f32", "f16", "bf16", "int8", "int4"];

/** Panels that one call takes: enough independent chains to hide the latency of a multiply-add. */
function panelsAtOnce(format: StorageFormat, rows: number, dot: boolean): number {
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
      addTile(module, `tile${rows}x${panels}`, { rows, panels, format });
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
 * epilogue(sums, out, bytes between rows of out, bias, residual, bytes between rows of residual, rows): `panels` panels.
 */
function buildEpilogue(kind: Activation, residual: boolean, panels: number): ModuleBuilder {
  const module = new ModuleBuilder();
  const parameters: ValueType[] = [I32, I32, I32, I32, I32, I32, I32];
  module.add("epilogue", parameters, (f, sums, out, outStride, bias, from, fromStride, rows) => {
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
  return module;
}

export function runMatmul(machine: Machine, words: Uint32Array): void {
  const format = FORMATS[words[MatmulWord.format]];
  const [first, last] = machine.share(words[MatmulWord.panels]);
  const whole = Math.floor(words[MatmulWord.outputs] / PANEL);
  const wide = panelsAtOnce(format, words[MatmulWord.rows], words[MatmulWord.quantised] !== 0);
  const multiply = multiplier(machine, words, format);
  for (let panel = first; panel < last;) {
    const count = panel + wide <= Math.min(last, whole) ? wide : 1;
    multiply(panel, count);
    if (panel < whole) finish(machine, words, panel, count);
    else finishPart(machine, words, panel);
    panel += count;
  }
}

/** A function that leaves the sums of `count` panels from `panel` on in scratch, [rows][count · 8]. */
function multiplier(
  machine: Machine,
  words: Uint32Array,
  format: StorageFormat,
): (panel: number, count: number) => void {
  const x = words[MatmulWord.x], rows = words[MatmulWord.rows], kBytes = words[MatmulWord.cols] * 4;
  const memory = words[MatmulWord.memory], stride = words[MatmulWord.panelStride];
  const address = (panel: number) => words[MatmulWord.panel] + panel * stride;
  const to = machine.scratch;
  if (isQuantised(format) && words[MatmulWord.quantised] !== 0) {
    const kernels = dotKernels(machine, format, memory), quantised = words[MatmulWord.quantised];
    const blocks = groups(words[MatmulWord.cols]), rowBytes = blocks * ROW_GROUP_BYTES;
    return (panel, count) =>
      evenTiles(rows, DOT_ROWS, (row, height) => {
        const from = quantised + row * rowBytes, sums = to + row * count * 32;
        kernels[`dot${height}x${count}`](from, rowBytes, address(panel), stride, sums, count * 32, blocks);
      });
  }
  const tiles = tilesOf(machine, "f32", memory);
  const sweep = (panel: number, panelStride: number, count: number) =>
    evenTiles(rows, TILE_ROWS, (row, height) => {
      const sums = to + row * count * 32;
      tiles[`tile${height}x${count}`](x + row * kBytes, kBytes, panel, panelStride, sums, count * 32, kBytes);
    });
  if (format === "f32") return (panel, count) => sweep(address(panel), stride, count);
  const scale = floatOf(words[MatmulWord.scale]);
  const direct = isQuantised(format)
    ? exactKernels(machine, format, memory)
    : tilesOf(machine, format, memory);
  if (rows <= 2) {
    return (panel, count) => {
      for (let row = 0; row < rows; row++) {
        const from = x + row * kBytes, sums = to + row * count * 32;
        if (isQuantised(format)) direct.exact(from, address(panel), sums, kBytes);
        else direct[`tile1x${count}`](from, kBytes, address(panel), stride, sums, 0, kBytes, scale);
      }
    };
  }
  const expanded = machine.thread * EXPANSION_BYTES;
  return (panel) => {
    direct.expand(address(panel), expanded, kBytes, scale);
    sweep(expanded, 0, 1);
  };
}

function tilesOf(machine: Machine, format: WeightFormat, memory: number): Kernels {
  return machine.kernels(`matmul ${format}`, () => buildTiles(format), memory);
}

function exactKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(`matmul exact ${format}`, () => {
    const module = new ModuleBuilder(true);
    addExact(module, format);
    addQuantisedExpand(module, format);
    return module;
  }, memory);
}

function dotKernels(machine: Machine, format: QuantisedFormat, memory: number): Kernels {
  return machine.kernels(`matmul dot ${format}`, () => {
    const module = new ModuleBuilder(true);
    for (const rows of range(DOT_ROWS).map((r) => r + 1)) {
      for (const panels of new Set([1, panelsAtOnce(format, rows, true)])) {
        addDot(module, format, rows, panels);
      }
    }
    return module;
  }, memory);
}

/** quantise_rows: the activations of a dot product, see quantised_tile.ts. Threads take whole rows. */
export function runQuantiseRows(machine: Machine, words: Uint32Array): void {
  const { quantise } = machine.kernels("quantise", () => {
    const module = new ModuleBuilder();
    addQuantiseRow(module);
    return module;
  });
  const cols = words[QuantiseWord.cols], rowBytes = groups(cols) * ROW_GROUP_BYTES;
  const [first, last] = machine.share(words[QuantiseWord.rows]);
  for (let row = first; row < last; row++) {
    quantise(words[QuantiseWord.x] + row * cols * 4, words[QuantiseWord.out] + row * rowBytes, cols * 4);
  }
}

/** Rows in tiles of equal height: of at most 6, 8 rows are 4 + 4 and 16 are 6 + 5 + 5. */
function evenTiles(rows: number, heightMax: number, visit: (row: number, height: number) => void): void {
  const tiles = Math.ceil(rows / heightMax);
  const height = Math.floor(rows / tiles), taller = rows % tiles;
  for (let tile = 0, row = 0; tile < tiles; tile++) {
    const h = height + (tile < taller ? 1 : 0);
    visit(row, h);
    row += h;
  }
}

function epilogueOf(machine: Machine, words: Uint32Array, panels: number): Kernels {
  const kind = ACTIVATIONS[words[MatmulWord.activation]];
  const residual = words[MatmulWord.residual] !== 0;
  return machine.kernels(
    `epilogue ${kind} ${residual} ${panels}`,
    () => buildEpilogue(kind, residual, panels),
  );
}

function finish(machine: Machine, words: Uint32Array, panel: number, count: number): void {
  const { epilogue } = epilogueOf(machine, words, count);
  const rowBytes = words[MatmulWord.outputs] * 4, offset = panel * 32;
  const bias = words[MatmulWord.bias], residual = words[MatmulWord.residual];
  epilogue(
    machine.scratch,
    words[MatmulWord.out] + offset,
    rowBytes,
    bias === 0 ? ZEROS : bias + offset,
    residual === 0 ? 0 : residual + offset,
    rowBytes,
    words[MatmulWord.rows],
  );
}

/** The last panel when outputs are not a multiple of 8: through padded copies, so that no neighbour is touched. */
function finishPart(machine: Machine, words: Uint32Array, panel: number): void {
  const { f32 } = machine;
  const rows = words[MatmulWord.rows], outputs = words[MatmulWord.outputs];
  const column = panel * PANEL, count = outputs - column;
  const sums = machine.scratch, bias = sums + rows * 32, residual = bias + 32, out = residual + rows * 32;
  f32.fill(0, bias >>> 2, out >>> 2);
  const copy = (from: number, to: number) => f32.copyWithin(to >>> 2, from >>> 2, (from >>> 2) + count);
  const at = (base: number, row: number) => base + (row * outputs + column) * 4;
  if (words[MatmulWord.bias] !== 0) copy(at(words[MatmulWord.bias], 0), bias);
  for (let row = 0; words[MatmulWord.residual] !== 0 && row < rows; row++) {
    copy(at(words[MatmulWord.residual], row), residual + row * 32);
  }
  epilogueOf(machine, words, 1).epilogue(sums, out, 32, bias, residual, 32, rows);
  for (let row = 0; row < rows; row++) copy(out + row * 32, at(words[MatmulWord.out], row));
}
