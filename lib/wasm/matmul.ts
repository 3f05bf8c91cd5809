/**
 * matmul: out[m, n] = residual[m, n] + activation(Σ_k x[m, k] · weight[n, k] + bias[n]); k ascending, one chain an output.
 * Threads take whole panels of 8 outputs. Sums of a few panels and all rows go to the thread's scratch, then an epilogue
 * adds bias, activation and residual. Few rows read f16 and bf16 panels directly; more rows expand a panel to f32 once.
 * Both give the same bits, because widening is exact.
 */
import { ACTIVATIONS } from "./activation.ts";
import { floatOf } from "./bits.ts";
import { fetchKernel, fetchPays } from "./fetch.ts";
import { SUMS_BYTES, ZEROS } from "./layout.ts";
import type { Kernel, Machine } from "./machine.ts";
import { DIRECT_ROWS, dotKernels, epilogueOf, EXACT_ROWS, exactKernels, tilesOf } from "./matmul_kernels.ts";
import { PANEL } from "./panel.ts";
import { groups } from "./quantised.ts";
import { ROW_GROUP_BYTES } from "./quantised_tile.ts";
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

/** Panels that threads take together: what any tile takes at a time. */
export const PANELS_TOGETHER = 4;

export function runMatmul(machine: Machine, words: Uint32Array): void {
  const rows = words[MatmulWord.rows], outputs = words[MatmulWord.outputs];
  const [first, last] = machine.share(Math.ceil(words[MatmulWord.panels] / PANELS_TOGETHER));
  const end = Math.min(last * PANELS_TOGETHER, words[MatmulWord.panels]);
  const whole = Math.min(end, Math.floor(outputs / PANEL));
  const multiply = multiplier(machine, words);
  const epilogue = epilogueOf(
    machine,
    ACTIVATIONS[words[MatmulWord.activation]],
    words[MatmulWord.residual] !== 0,
  );
  const { bias, residual, out } = MatmulWord;
  const rowBytes = outputs * 4, most = Math.max(PANELS_TOGETHER, Math.floor(SUMS_BYTES / (rows * PANEL * 4)));
  for (let panel = first * PANELS_TOGETHER; panel < whole; panel += most) {
    const count = Math.min(most, whole - panel), bytes = count * PANEL * 4, offset = panel * PANEL * 4;
    multiply(panel, count, bytes);
    const biasAt = words[bias] === 0 ? ZEROS : words[bias] + offset;
    const residualAt = words[residual] === 0 ? 0 : words[residual] + offset;
    epilogue(
      machine.scratch,
      bytes,
      words[out] + offset,
      rowBytes,
      biasAt,
      residualAt,
      rowBytes,
      rows,
      bytes,
    );
  }
  if (whole < end) {
    multiply(whole, 1, PANEL * 4);
    finishPart(machine, words, whole, epilogue);
  }
}

/** A function that leaves the sums of `count` panels from `panel` on in scratch, its rows `stride` bytes apart. */
function multiplier(
  machine: Machine,
  words: Uint32Array,
): (panel: number, count: number, stride: number) => void {
  const format = FORMATS[words[MatmulWord.format]];
  const x = words[MatmulWord.x], rows = words[MatmulWord.rows], kBytes = words[MatmulWord.cols] * 4;
  const memory = words[MatmulWord.memory], between = words[MatmulWord.panelStride];
  const begin = words[MatmulWord.panel], to = machine.scratch;
  if (isQuantised(format) && words[MatmulWord.quantised] !== 0) {
    const { sweep } = dotKernels(machine, format, memory), from = words[MatmulWord.quantised];
    const blocks = groups(words[MatmulWord.cols]), bytes = blocks * ROW_GROUP_BYTES;
    return (panel, count, stride) =>
      sweep(from, bytes, begin + panel * between, between, to, stride, blocks, rows, count);
  }
  const scale = floatOf(words[MatmulWord.scale]);
  const unread = machine.scratch + machine.scratchBytes - 16;
  const fetch = fetchPays(rows, words[MatmulWord.panels] * between) ? fetchKernel(machine, memory) : null;
  const quantised = isQuantised(format);
  const { sweep, expand } = quantised
    ? exactKernels(machine, format, memory)
    : tilesOf(machine, format, memory);
  if (format === "f32" || rows <= (quantised ? EXACT_ROWS : DIRECT_ROWS)) {
    return (panel, count, stride) => {
      if (fetch === null) {
        sweep(x, kBytes, begin + panel * between, between, to, stride, kBytes, rows, count, scale);
        return;
      }
      for (let i = 0; i < count; i++) {
        const from = begin + (panel + i) * between;
        fetch(from, between, unread);
        sweep(x, kBytes, from, between, to + i * PANEL * 4, stride, kBytes, rows, 1, scale);
      }
    };
  }
  const multiply = tilesOf(machine, "f32", memory).sweep, expanded = machine.expansion;
  return (panel, count, stride) => {
    for (let i = 0; i < count; i++) {
      const from = begin + (panel + i) * between;
      fetch?.(from, between, unread);
      expand(from, expanded, kBytes, scale);
      multiply(x, kBytes, expanded, 0, to + i * PANEL * 4, stride, kBytes, rows, 1);
    }
  };
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
  epilogue(sums, 32, out, 32, bias, residual, 32, rows, 32);
  for (let row = 0; row < rows; row++) copy(out + row * 32, at(words[MatmulWord.out], row));
}
