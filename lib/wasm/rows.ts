/** Operations that move rows about: embed, gather_rows, scatter_rows, patchify, vision_embed. Threads take whole rows. */
import { FEATURE_ROW } from "../ops/backend.ts";
import type { Machine } from "./machine.ts";
import { FORMATS } from "./matmul.ts";
import { WEIGHT_STEP_BYTES } from "./tile.ts";
import { floatOf } from "./bits.ts";
import { PANEL } from "./panel.ts";
import { columnOf, isQuantised } from "./weights.ts";
import { assert } from "../core/assert.ts";

export const EmbedWord = {
  tokens: 0,
  count: 1,
  dim: 2,
  memory: 3,
  panel: 4,
  panelStride: 5,
  format: 6,
  scale: 7,
  features: 8,
  out: 9,
  vocab: 10,
} as const;
export const GatherWord = { x: 0, rows: 1, count: 2, dim: 3, out: 4 } as const;
export const PatchifyWord = { pixels: 0, images: 1, height: 2, width: 3, patch: 4, out: 5 } as const;
export const VisionEmbedWord = {
  patches: 0,
  classToken: 1,
  positions: 2,
  images: 3,
  rows: 4,
  dim: 5,
  out: 6,
} as const;

/** Embedding rows lie across panels, [k][8]: one row is every eighth weight. */
export function runEmbed(machine: Machine, w: Uint32Array): void {
  const { f32, u32 } = machine;
  const dim = w[EmbedWord.dim], format = FORMATS[w[EmbedWord.format]];
  assert(!isQuantised(format), "embedding tables are stored as they are");
  const elementBytes = WEIGHT_STEP_BYTES[format] / PANEL;
  const weights = machine.weights[w[EmbedWord.memory]];
  // Halves are stored scaled by 2^shift; `scale` is 2^(112 − shift), see weights.ts.
  const unscale = format === "f16" ? floatOf(w[EmbedWord.scale]) / 2 ** 112 : 1;
  const [first, last] = machine.share(w[EmbedWord.count]);
  for (let t = first; t < last; t++) {
    const token = u32[(w[EmbedWord.tokens] >>> 2) + t], out = (w[EmbedWord.out] >>> 2) + t * dim;
    if (token >= FEATURE_ROW) {
      const row = (w[EmbedWord.features] >>> 2) + (token - FEATURE_ROW) * dim;
      f32.copyWithin(out, row, row + dim);
      continue;
    }
    assert(token < w[EmbedWord.vocab], "token ids are below the table's rows");
    const panel = w[EmbedWord.panel] + Math.floor(token / PANEL) * w[EmbedWord.panelStride];
    let from = panel / elementBytes + columnOf(format, token);
    if (format === "f32") {
      for (let k = 0; k < dim; k++, from += PANEL) f32[out + k] = weights.f32[from];
    } else if (format === "f16") {
      for (let k = 0; k < dim; k++, from += PANEL) f32[out + k] = weights.f16[from] * unscale;
    } else {
      // bf16 is the upper half of an f32.
      for (let k = 0; k < dim; k++, from += PANEL) u32[out + k] = weights.u16[from] << 16;
    }
  }
}

export function runGatherRows(machine: Machine, w: Uint32Array): void {
  moveRows(machine, w, true);
}

export function runScatterRows(machine: Machine, w: Uint32Array): void {
  moveRows(machine, w, false);
}

/** Row i of the list is the source of row i (gather) or its target (scatter). */
function moveRows(machine: Machine, w: Uint32Array, gather: boolean): void {
  const { u8, u32 } = machine;
  const bytes = w[GatherWord.dim] * 4, rows = w[GatherWord.rows] >>> 2;
  const [first, last] = machine.share(w[GatherWord.count]);
  for (let index = first; index < last; index++) {
    const row = u32[rows + index];
    const from = w[GatherWord.x] + (gather ? row : index) * bytes;
    u8.copyWithin(w[GatherWord.out] + (gather ? index : row) * bytes, from, from + bytes);
  }
}

export function runPatchify(machine: Machine, w: Uint32Array): void {
  const { f32 } = machine;
  const height = w[PatchifyWord.height], width = w[PatchifyWord.width], patch = w[PatchifyWord.patch];
  const across = Math.floor(width / patch), perImage = Math.floor(height / patch) * across;
  const rowLength = 3 * patch * patch;
  const [first, last] = machine.share(w[PatchifyWord.images] * perImage);
  for (let row = first; row < last; row++) {
    const image = Math.floor(row / perImage), index = row % perImage;
    const top = Math.floor(index / across) * patch, left = index % across * patch;
    let to = (w[PatchifyWord.out] >>> 2) + row * rowLength;
    for (let channel = 0; channel < 3; channel++) {
      for (let y = 0; y < patch; y++, to += patch) {
        const from = (w[PatchifyWord.pixels] >>> 2) + ((image * 3 + channel) * height + top + y) * width +
          left;
        f32.copyWithin(to, from, from + patch);
      }
    }
  }
}

export function runVisionEmbed(machine: Machine, w: Uint32Array): void {
  const { f32 } = machine;
  const dim = w[VisionEmbedWord.dim], rows = w[VisionEmbedWord.rows];
  const classToken = w[VisionEmbedWord.classToken] >>> 2, extra = classToken === 0 ? 0 : 1;
  const [first, last] = machine.share(w[VisionEmbedWord.images] * rows);
  for (let row = first; row < last; row++) {
    const image = Math.floor(row / rows), index = row % rows;
    const patch = (w[VisionEmbedWord.patches] >>> 2) + (image * (rows - extra) + index - extra) * dim;
    const from = index < extra ? classToken : patch;
    const position = (w[VisionEmbedWord.positions] >>> 2) + index * dim;
    const out = (w[VisionEmbedWord.out] >>> 2) + row * dim;
    for (let d = 0; d < dim; d++) f32[out + d] = f32[from + d] + f32[position + d];
  }
}
