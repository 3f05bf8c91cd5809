/**
 * matmul: out[m, n] = residual[m, n] + activation(Σ_k x[m, k] · weight[n, k] + bias[n]); k ascending, one chain an output.
 * Threads take whole panels of 8 outputs. Per panel: sums of all rows go to the thread's scratch, then an epilogue adds
 * bias, activation and residual. One or two rows read f16 and bf16 panels directly; more rows expand a panel to f32 once.
 * Both give the same bits, because widening is exact.
 */
import { ACTIVATIONS } from "./activation.ts";
import { floatOf } from "./bits.ts";
import { EXPANSION_BYTES, ZEROS } from "./layout.ts";
import type { Kernel, Machine } from "./machine.ts";
import { dotKernels, epilogues, exactKernels, panelsAtOnce, tilesOf } from "./matmul_kernels.ts";
import { PANEL } from "./panel.ts";
import { groups } from "./quantised.ts";
import { DOT_ROWS, ROW_GROUP_BYTES } from "./quantised_tile.ts";
import { TILE_ROWS } from "./tile.ts";
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

export const FORMATS: readonly StorageFormat[] = ["f32", "f16", "bf16", "int8", "int4"];

export function runMatmul(machine: Machine, words: Uint32Array): void {
  const format = FORMATS[words[MatmulWord.format]];
  const rows = words[MatmulWord.rows];
  const [first, last] = machine.share(words[MatmulWord.panels]);
  const whole = Math.floor(words[MatmulWord.outputs] / PANEL);
  const wide = panelsAtOnce(format, rows, words[MatmulWord.quantised] !== 0);
  const kind = ACTIVATIONS[words[MatmulWord.activation]];
  const finish = epilogues(machine, kind, words[MatmulWord.residual] !== 0);
  const multiply = multiplier(machine, words, format);
  const { bias, residual, out } = MatmulWord;
  const rowBytes = words[MatmulWord.outputs] * 4;
  for (let panel = first; panel < last;) {
    const count = panel + wide <= Math.min(last, whole) ? wide : 1;
    const offset = panel * PANEL * 4;
    multiply(panel, count);
    if (panel < whole) {
      const biasAt = words[bias] === 0 ? ZEROS : words[bias] + offset;
      const residualAt = words[residual] === 0 ? 0 : words[residual] + offset;
      finish[count](machine.scratch, words[out] + offset, rowBytes, biasAt, residualAt, rowBytes, rows);
    } else finishPart(machine, words, panel, finish[1]);
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
  const begin = words[MatmulWord.panel], to = machine.scratch;
  if (isQuantised(format) && words[MatmulWord.quantised] !== 0) {
    const table = machine.table(dotKernels(machine, format, memory)), from = words[MatmulWord.quantised];
    const blocks = groups(words[MatmulWord.cols]), rowBytes = blocks * ROW_GROUP_BYTES;
    return (panel, count) =>
      sweep(table, DOT_ROWS, count, from, rows, rowBytes, begin + panel * stride, stride, to, blocks);
  }
  const table = machine.table(tilesOf(machine, "f32", memory));
  if (format === "f32") {
    return (panel, count) =>
      sweep(table, TILE_ROWS, count, x, rows, kBytes, begin + panel * stride, stride, to, kBytes);
  }
  const scale = floatOf(words[MatmulWord.scale]);
  const quantised = isQuantised(format);
  const kernels = quantised ? exactKernels(machine, format, memory) : tilesOf(machine, format, memory);
  if (rows <= 2) {
    const { exact } = kernels, direct = machine.table(kernels)[1];
    return (panel, count) => {
      const at = begin + panel * stride;
      for (let row = 0; row < rows; row++) {
        const from = x + row * kBytes, sums = to + row * count * 32;
        if (quantised) exact(from, at, sums, kBytes);
        else direct[count](from, kBytes, at, stride, sums, 0, kBytes, scale);
      }
    };
  }
  const { expand } = kernels, expanded = machine.thread * EXPANSION_BYTES;
  return (panel) => {
    expand(begin + panel * stride, expanded, kBytes, scale);
    sweep(table, TILE_ROWS, 1, x, rows, kBytes, expanded, 0, to, kBytes);
  };
}

/**
 * All rows of one group of panels, in tiles of equal height: of at most 6, 8 rows are 4 + 4 and 16 are 6 + 5 + 5.
 * `length` is what the tile takes as its last parameter.
 */
function sweep(
  table: readonly (readonly Kernel[])[],
  heightMax: number,
  count: number,
  x: number,
  rows: number,
  rowBytes: number,
  panel: number,
  stride: number,
  to: number,
  length: number,
): void {
  const tiles = Math.ceil(rows / heightMax);
  const height = Math.floor(rows / tiles), taller = rows % tiles;
  for (let tile = 0; tile < tiles; tile++) {
    const h = tile < taller ? height + 1 : height;
    table[h][count](x, rowBytes, panel, stride, to, count * 32, length);
    x += h * rowBytes;
    to += h * count * 32;
  }
}

/** The last panel when outputs are not a multiple of 8: through padded copies, so that no neighbour is touched. */
function finishPart(machine: Machine, words: Uint32Array, panel: number, epilogue: Kernel): void {
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
  epilogue(sums, out, 32, bias, residual, 32, rows);
  for (let row = 0; row < rows; row++) copy(out + row * 32, at(words[MatmulWord.out], row));
}
