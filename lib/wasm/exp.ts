/**
 * exp of four lanes: n = nearest(x · log2 e), r = x − n · ln 2 in two steps, a polynomial of degree 5 in r plus 1 + r, times 2^n.
 * The argument is clamped to ±80, so that neither the result nor 1 / (1 + result) is subnormal (subnormals are 12 to 40
 * times slower and cannot be flushed). Largest error 2.9 ulp. Coefficients: Cephes expf.
 */
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
} from "./emit.ts";

/** Leaves exp(x) on the stack; `temporaries` are three vectors that may be overwritten. */
export function exp(f: FunctionBuilder, x: Code, temporaries: readonly Local[]): Code {
  const [n, r, p] = temporaries;
  const { fma, fnma, mul, add } = f32x4;
  return sequence(
    set(r, f32x4.pmax(f32x4.pmin(x, f.splatF32(80)), f.splatF32(-80))),
    set(n, f32x4.nearest(mul(get(r), f.splatF32(1.4426950408889634)))),
    // ln 2 in two parts; the first has 9 bits, so that its product is exact.
    set(r, fnma(get(n), f.splatF32(0.693359375), get(r))),
    set(r, fnma(get(n), f.splatF32(-2.12194440e-4), get(r))),
    set(p, fma(get(r), f.splatF32(1.9875691500e-4), f.splatF32(1.3981999507e-3))),
    set(p, fma(get(p), get(r), f.splatF32(8.3334519073e-3))),
    set(p, fma(get(p), get(r), f.splatF32(4.1665795894e-2))),
    set(p, fma(get(p), get(r), f.splatF32(1.6666665459e-1))),
    set(p, fma(get(p), get(r), f.splatF32(0.5))),
    set(p, add(fma(get(p), mul(get(r), get(r)), get(r)), f.splatF32(1))),
    // Times 2^n: n is added to the exponent's bits.
    i32x4.add(get(p), i32x4.shl(i32x4.truncF32x4(get(n)), i32.const(23))),
  );
}
