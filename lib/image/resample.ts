/**
 * Separable resampling with antialias on 8-bit values, bit for bit as Pillow or torchvision does it: the horizontal pass
 * is rounded and clamped to 8 bits before the vertical one, with coefficients in fixed point. The two differ in nothing
 * but the coefficients' precision, which moves under 2 % of the values by a level. An axis that keeps its size is not
 * touched. Only a window of the result is computed, so a crop costs what it shows, whatever the picture's shape.
 */
import { FILTERS, type ResampleFilter } from "./filter.ts";
import type { Picture } from "./image.ts";

/** Part of the resized picture, inside its bounds. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * Whose fixed point: Pillow's 32-bit coefficients, or torchvision's 16-bit ones, whose fraction is the longest that the
 * largest coefficient of the axis leaves. transformers resizes with torchvision unless told otherwise.
 */
export type ResampleArithmetic = "pillow" | "torchvision";

/** 32-bit sums of 8-bit values leave 22 bits for the coefficient's fraction (two more for sum and sign). */
const FRACTION_BITS_MAX = 32 - 8 - 2;

/** Fraction bits of a coefficient that must stay below 2^15. */
function shortFractionBits(largest: number): number {
  let bits = 0;
  while (bits < FRACTION_BITS_MAX && Math.trunc(0.5 + largest * 2 ** (bits + 1)) < 1 << 15) bits++;
  return bits;
}

/** For each output place of one axis: the first source place, how many there are, and their weights. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** [outputs, width] fixed point; entries after `count` are 0. */
  readonly weights: Int32Array;
  readonly width: number;
  readonly fractionBits: number;
}

/** The `window` of `picture` resized to `size`. */
export function resample(
  picture: Picture,
  size: Size,
  filter: ResampleFilter,
  window: Window,
  arithmetic: ResampleArithmetic = "torchvision",
): Picture {
  if (filter === "nearest") return resampleNearest(picture, size, window);
  const columns = picture.width === size.width
    ? null
    : tapsOf(picture.width, size.width, filter, window.left, window.width, arithmetic);
  const rows = picture.height === size.height
    ? null
    : tapsOf(picture.height, size.height, filter, window.top, window.height, arithmetic);
  // Rows that the vertical pass reads; the horizontal pass makes no others.
  const top = rows ? rows.first[0] : window.top;
  const bottom = rows ? rows.first[window.height - 1] + rows.count[window.height - 1] : top + window.height;
  const narrow = columns
    ? horizontalPass(picture, columns, window.width, top, bottom)
    : cropped(picture, { left: window.left, top, width: window.width, height: bottom - top });
  return rows ? verticalPass(narrow, rows, window.height, top) : narrow;
}

/** The `window` of `picture` as it is. */
export function cropped(picture: Picture, window: Window): Picture {
  const { left, top, width, height } = window;
  if (width === picture.width && height === picture.height) return picture;
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * picture.width + left) * 3;
    rgb.set(picture.rgb.subarray(start, start + width * 3), y * width * 3);
  }
  return { width, height, rgb };
}

/** Taps of outputs `from` … `from + outputs - 1` when an axis goes from `source` to `target` places. */
function tapsOf(
  source: number,
  target: number,
  filter: Exclude<ResampleFilter, "nearest">,
  from: number,
  outputs: number,
  arithmetic: ResampleArithmetic,
): Taps {
  const axis = new Axis(source, target, filter);
  let fractionBits = FRACTION_BITS_MAX;
  if (arithmetic === "torchvision") {
    let largest = 0;
    for (let output = 0; output < target; output++) largest = Math.max(largest, axis.place(output).largest);
    fractionBits = shortFractionBits(largest);
  }
  const { width, exact } = axis;
  const first = new Int32Array(outputs);
  const count = new Int32Array(outputs);
  const weights = new Int32Array(outputs * width);
  for (let i = 0; i < outputs; i++) {
    const { low, high } = axis.place(from + i);
    for (let k = 0; k < high - low; k++) {
      const scaled = exact[k] * 2 ** fractionBits;
      weights[i * width + k] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
    first[i] = low;
    count[i] = high - low;
  }
  return { first, count, weights, width, fractionBits };
}

/** One axis going from `source` to `target` places under a filter. */
class Axis {
  readonly width: number;
  /** Weights of the output placed last. */
  readonly exact: Float64Array;
  readonly #scale: number;
  readonly #stretch: number;
  readonly #reach: number;
  readonly #weight: (x: number) => number;

  constructor(private readonly source: number, target: number, filter: Exclude<ResampleFilter, "nearest">) {
    const { support, weight } = FILTERS[filter];
    this.#weight = weight;
    this.#scale = source / target;
    this.#stretch = Math.max(this.#scale, 1); // shrinking widens the filter: the antialias
    this.#reach = support * this.#stretch;
    this.width = Math.ceil(this.#reach) * 2 + 1;
    this.exact = new Float64Array(this.width);
  }

  /** Source places low … high − 1 of an output, their weights in `exact`, summing to 1. */
  place(output: number): { low: number; high: number; largest: number } {
    const { exact } = this;
    const centre = (output + 0.5) * this.#scale;
    const low = Math.max(0, Math.trunc(centre - this.#reach + 0.5));
    const high = Math.min(this.source, Math.trunc(centre + this.#reach + 0.5));
    let sum = 0, largest = 0;
    for (let k = 0; k < high - low; k++) {
      exact[k] = this.#weight((k + low - centre + 0.5) * (1 / this.#stretch));
      sum += exact[k];
    }
    for (let k = 0; sum !== 0 && k < high - low; k++) {
      exact[k] /= sum;
      largest = Math.max(largest, exact[k]);
    }
    return { low, high, largest };
  }
}

function clamp8(sum: number, fractionBits: number): number {
  const value = sum >> fractionBits;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Source rows `top` … `bottom - 1`, narrowed or widened to `outputs` columns. */
function horizontalPass(picture: Picture, taps: Taps, outputs: number, top: number, bottom: number): Picture {
  const { rgb } = picture;
  const { first, count, weights, width, fractionBits } = taps;
  const half = 1 << (fractionBits - 1);
  const out = new Uint8Array(outputs * (bottom - top) * 3);
  let target = 0;
  for (let y = top; y < bottom; y++) {
    const row = y * picture.width * 3;
    for (let x = 0; x < outputs; x++, target += 3) {
      let r = half, g = half, b = half;
      let source = row + first[x] * 3;
      const start = x * width;
      for (let k = start; k < start + count[x]; k++, source += 3) {
        const w = weights[k];
        r = (r + Math.imul(rgb[source], w)) | 0;
        g = (g + Math.imul(rgb[source + 1], w)) | 0;
        b = (b + Math.imul(rgb[source + 2], w)) | 0;
      }
      out[target] = clamp8(r, fractionBits);
      out[target + 1] = clamp8(g, fractionBits);
      out[target + 2] = clamp8(b, fractionBits);
    }
  }
  return { width: outputs, height: bottom - top, rgb: out };
}

/** `picture` begins at source row `top`; the result has `outputs` rows. */
function verticalPass(picture: Picture, taps: Taps, outputs: number, top: number): Picture {
  const { rgb } = picture;
  const { first, count, weights, width, fractionBits } = taps;
  const half = 1 << (fractionBits - 1);
  const rowBytes = picture.width * 3;
  const out = new Uint8Array(rowBytes * outputs);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < outputs; y++) {
    sums.fill(half);
    for (let k = 0; k < count[y]; k++) { // row by row, so that memory is read in order
      const w = weights[y * width + k];
      const source = (first[y] - top + k) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] += Math.imul(rgb[source + i], w);
    }
    const target = y * rowBytes;
    for (let i = 0; i < rowBytes; i++) out[target + i] = clamp8(sums[i], fractionBits);
  }
  return { width: picture.width, height: outputs, rgb: out };
}

/** The pixel under each output's centre. */
function resampleNearest(picture: Picture, size: Size, window: Window): Picture {
  const columns = nearestPlaces(picture.width, size.width, window.left, window.width);
  const rows = nearestPlaces(picture.height, size.height, window.top, window.height);
  const rgb = new Uint8Array(window.width * window.height * 3);
  let target = 0;
  for (const row of rows) {
    for (const column of columns) {
      const source = (row * picture.width + column) * 3;
      rgb[target++] = picture.rgb[source];
      rgb[target++] = picture.rgb[source + 1];
      rgb[target++] = picture.rgb[source + 2];
    }
  }
  return { width: window.width, height: window.height, rgb };
}

/** Pillow steps by repeated addition; its rounding decides ties, so it is kept. */
function nearestPlaces(source: number, target: number, from: number, outputs: number): Int32Array {
  const scale = source / target;
  const places = new Int32Array(outputs);
  let place = scale * 0.5;
  for (let i = 0; i < from + outputs; i++, place += scale) {
    if (i >= from) places[i - from] = Math.min(source - 1, Math.trunc(place));
  }
  return places;
}
