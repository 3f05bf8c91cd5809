/**
 * Weights of 8 and 4 bits. Groups of 32 consecutive inputs of one output share an f32 scale: weight = q · scale,
 * q in −127 … 127 (int8) or −7 … 7 (int4), scale = max|w| / 127 or / 7, rounded to nearest.
 *
 * A panel (8 outputs) is a row of blocks, one a group: steps of 32 bytes, then 8 scales. A step is 16 bytes for outputs
 * 0 … 3 and 16 for the others; an output's 4 bytes hold its next 4 inputs in the order 0, 2, 1, 3 (int8), or its next 8,
 * the first four in the low nibbles and the others in the high ones, in the same order (int4). So the even bytes of a
 * step are pairs of adjacent inputs, as the dot product of 16-bit lanes takes them. Inputs behind the last are zero.
 */
import {
  type Code,
  f32x4,
  type FunctionBuilder,
  get,
  i16x8,
  i32,
  i32x4,
  i8x16,
  type Local,
  range,
  v128,
} from "./emit.ts";
import { PANEL } from "./panel.ts";

export type QuantisedFormat = "int8" | "int4";

export const GROUP = 32;
/** Of a step. */
const INPUTS: Record<QuantisedFormat, number> = { int8: 4, int4: 8 };
const LARGEST: Record<QuantisedFormat, number> = { int8: 127, int4: 7 };
export const STEP_BYTES = 32;
/** Where in an output's four bytes inputs 0 … 3 are. */
const BYTE_OF_INPUT = [0, 2, 1, 3];

/** A smaller scale counts as zero, so that what kernels multiply scales by keeps them normal. */
const SCALE_MIN = 2 ** -90;

export function steps(format: QuantisedFormat): number {
  return GROUP / INPUTS[format];
}

/** Fours of inputs that a step holds. */
export function foursOfStep(format: QuantisedFormat): number {
  return INPUTS[format] / 4;
}

/** Where a block's scales begin. */
export function scalesOffset(format: QuantisedFormat): number {
  return steps(format) * STEP_BYTES;
}

export function blockBytes(format: QuantisedFormat): number {
  return scalesOffset(format) + PANEL * 4;
}

/** Bytes of `elements` weights, scales included. */
export function quantisedBytes(format: QuantisedFormat, elements: number): number {
  return Math.ceil(elements / (GROUP * PANEL)) * blockBytes(format);
}

export function groups(cols: number): number {
  return Math.ceil(cols / GROUP);
}

/** Quantises one output's weights into column `column` of the panel at `address`. */
export function writeQuantisedRow(
  buffer: ArrayBufferLike,
  address: number,
  column: number,
  format: QuantisedFormat,
  row: Float32Array,
): void {
  const bytes = new Uint8Array(buffer), scales = new Float32Array(buffer);
  const limit = LARGEST[format];
  for (let group = 0; group < groups(row.length); group++) {
    const block = address + group * blockBytes(format);
    const first = group * GROUP, last = Math.min(first + GROUP, row.length);
    let largest = 0;
    for (let k = first; k < last; k++) largest = Math.max(largest, Math.abs(row[k]));
    const quotient = Math.fround(largest / limit), scale = quotient < SCALE_MIN ? 0 : quotient;
    scales[(block + scalesOffset(format)) / 4 + column] = scale;
    for (let i = 0; i < GROUP; i++) {
      const k = first + i;
      const q = k < last && scale > 0 ? Math.max(-limit, Math.min(limit, Math.round(row[k] / scale))) : 0;
      const step = block + Math.floor(i / INPUTS[format]) * STEP_BYTES;
      const at = step + column * 4 + BYTE_OF_INPUT[i % 4];
      if (format === "int8") bytes[at] = q;
      else if (i % 8 < 4) bytes[at] = (bytes[at] & 0xf0) | (q & 0x0f);
      else bytes[at] = (bytes[at] & 0x0f) | (q & 0x0f) << 4;
    }
  }
}

/** Outputs 4h … 4h + 3 of a step at `pointer` in memory 1. */
export function loadStep(pointer: Local, step: number, half: number): Code {
  return v128.load(get(pointer), step * STEP_BYTES + half * 16, 1);
}

/** Pairs of inputs in a step. */
export function pairsOfStep(format: QuantisedFormat): number {
  return INPUTS[format] / 2;
}

/** Inputs 2 · pair and 2 · pair + 1 of a step's four outputs, as i16. */
export function pairOf(format: QuantisedFormat, step: Local, pair: number): Code {
  // Where in a 16-bit lane it ends, counted from below: bytes 0 and 1, or nibbles 0, 2, 1, 3.
  const bits = format === "int8" ? 8 : 4, end = format === "int8" ? [8, 16][pair] : [4, 12, 8, 16][pair];
  const raised = end === 16 ? get(step) : i16x8.shl(get(step), i32.const(16 - end));
  return i16x8.shrS(raised, i32.const(16 - bits));
}

/** Four inputs of a step's four outputs in the upper bits of bytes, for `inputOf`; other bits are zero. */
export function fourOf(f: FunctionBuilder, format: QuantisedFormat, step: Code, four: number): Code {
  if (format === "int8") return step;
  return v128.and(four === 0 ? i32x4.shl(step, i32.const(4)) : step, f.splatI32(0xf0f0_f0f0 | 0));
}

/** What `inputOf` multiplies q by: input i is the top of a 32-bit lane. */
export const INPUT_FACTOR: Record<QuantisedFormat, number> = { int8: 2 ** 24, int4: 2 ** 28 };

/** Input i of the four in `bytes` as f32, times INPUT_FACTOR: exact, and folded into the scale. */
export function inputOf(f: FunctionBuilder, bytes: Local, i: number): Code {
  const top = range(4).flatMap((output) => [255, 255, 255, 4 * output + BYTE_OF_INPUT[i]]);
  return f32x4.convertI32x4S(i8x16.swizzle(get(bytes), f.bytes(top)));
}
