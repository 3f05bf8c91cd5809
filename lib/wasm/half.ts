/** f16 in and out of four f32 lanes, without f16 instructions. */
import {
  type Code,
  f32x4,
  type FunctionBuilder,
  get,
  i32,
  i32x4,
  type Local,
  sequence,
  set,
  v128,
} from "./emit.ts";

/** What `widenHalves` leaves out: a half shifted into an f32 is the value times 2^−112. */
export const HALF_SCALE = 2 ** 112;

/** Four halves at an address as f32 · 2^−112: sign and exponent land one bit apart, the mask clears the shifted copies of the sign. */
export function widenHalves(f: FunctionBuilder, at: Code, offset: number, memory = 0): Code {
  return v128.and(i32x4.shl(v128.load16x4S(at, offset, memory), i32.const(13)), f.splatI32(0x8fff_ffff | 0));
}

/**
 * Four f32 as halves in i32 lanes, rounded to nearest even, magnitudes clamped to 65,504; NaN stays NaN.
 * `temporaries` are three vectors.
 */
export function narrowToHalves(f: FunctionBuilder, x: Local, temporaries: readonly Local[]): Code {
  const [a, normal, small] = temporaries;
  return sequence(
    set(a, f32x4.pmin(f32x4.abs(get(x)), f.splatF32(65504))),
    // Rebias the exponent by −112 and round at bit 13.
    set(
      normal,
      i32x4.add(
        i32x4.add(get(a), f.splatI32(0xc800_0fff | 0)),
        v128.and(i32x4.shrU(get(a), i32.const(13)), f.splatI32(1)),
      ),
    ),
    set(normal, i32x4.shrU(get(normal), i32.const(13))),
    // Below 2^−14 the sum with 0.5 rounds at 2^−24, the last place of a subnormal half.
    set(small, i32x4.sub(f32x4.add(get(a), f.splatF32(0.5)), f.splatI32(0x3f00_0000))),
    v128.or(
      v128.select(get(small), get(normal), i32x4.ltS(get(a), f.splatI32(0x3880_0000))),
      v128.and(i32x4.shrU(get(x), i32.const(16)), f.splatI32(0x8000)),
    ),
  );
}
