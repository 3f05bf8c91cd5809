/**
 * Weights of 8 and 4 bits. Groups of 32 consecutive inputs of one output share an f32 scale: weight = q · scale,
 * q in −127 … 127 (int8) or −7 … 7 (int4), scale = max|w| / 127 or / 7, rounded to nearest.
 *
 * A panel (8 outputs) is a row of blocks, one a group: 16 steps of two inputs, then 8 scales. A step of int8 is
 * [8 outputs][2 inputs] bytes; a step of int4 is 8 bytes, one an output: the first input + 8 in the low nibble, the
 * second + 8 in the high one. Inputs behind the last are zero.
 */
import {
  type Code,
  type FunctionBuilder,
  get,
  i16x8,
  i32,
  i32x4,
  type Local,
  sequence,
  set,
  v128,
} from "./emit.ts";
import { PANEL } from "./panel.ts";

export type QuantisedFormat = "int8" | "int4";

export const GROUP = 32;
const STEPS = GROUP / 2;

const STEP_BYTES: Record<QuantisedFormat, number> = { int8: 16, int4: 8 };
const LARGEST: Record<QuantisedFormat, number> = { int8: 127, int4: 7 };

export function stepBytes(format: QuantisedFormat): number {
  return STEP_BYTES[format];
}

/** Where a block's scales begin. */
export function scalesOffset(format: QuantisedFormat): number {
  return STEPS * STEP_BYTES[format];
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
    const scale = Math.fround(largest / limit);
    scales[(block + scalesOffset(format)) / 4 + column] = scale;
    for (let i = 0; i < GROUP; i++) {
      const k = first + i;
      const q = k < last && scale > 0 ? Math.max(-limit, Math.min(limit, Math.round(row[k] / scale))) : 0;
      const step = block + (i >> 1) * STEP_BYTES[format];
      if (format === "int8") bytes[step + 2 * column + (i & 1)] = q;
      else if ((i & 1) === 0) bytes[step + column] = q + 8;
      else bytes[step + column] |= (q + 8) << 4;
    }
  }
}

/** Two inputs of outputs 4h … 4h + 3 as i16 pairs, first input low, from a step at `pointer + offset` in memory 1. */
export function loadPairs(
  f: FunctionBuilder,
  format: QuantisedFormat,
  pointer: Local,
  offset: number,
  half: number,
  wide: Local,
): Code {
  if (format === "int8") return v128.load8x8S(get(pointer), offset + half * 8, 1);
  const extend = half === 0 ? i32x4.extendLowI16x8U : i32x4.extendHighI16x8U;
  const first = v128.and(get(wide), f.splatI32(0x0f));
  const second = i32x4.shl(v128.and(get(wide), f.splatI32(0xf0)), i32.const(12));
  return sequence(
    set(wide, extend(v128.load8x8U(get(pointer), offset, 1))),
    i16x8.sub(v128.or(first, second), f.splatI32(0x0008_0008)),
  );
}
