/** Activation functions of four lanes. Each leaves f(x) on the stack; `temporaries` are six vectors. */
import type { Activation } from "../ops/backend.ts";
import { type Code, f32x4, type FunctionBuilder, get, type Local, sequence, set, v128 } from "./emit.ts";
import { exp } from "./exp.ts";

const { add, sub, mul, div, fma } = f32x4;

/** 1 / (1 + exp(−x)). */
function sigmoid(f: FunctionBuilder, x: Code, temporaries: readonly Local[]): Code {
  return div(f.splatF32(1), add(f.splatF32(1), exp(f, f32x4.neg(x), temporaries)));
}

/**
 * 0.5 · x · (1 + erf(x / √2)); erf(z) = 1 − (a₁t + … + a₅t⁵)·exp(−z²), t = 1 / (1 + p·z), for z ≥ 0, odd otherwise
 * (Abramowitz and Stegun 7.1.26, absolute error 1.5e-7).
 */
function gelu(f: FunctionBuilder, x: Local, temporaries: readonly Local[]): Code {
  const [a, b, c, z, t, e] = temporaries;
  return sequence(
    set(z, mul(f32x4.abs(get(x)), f.splatF32(Math.SQRT1_2))),
    set(t, div(f.splatF32(1), fma(get(z), f.splatF32(0.3275911), f.splatF32(1)))),
    set(e, fma(f.splatF32(1.061405429), get(t), f.splatF32(-1.453152027))),
    set(e, fma(get(e), get(t), f.splatF32(1.421413741))),
    set(e, fma(get(e), get(t), f.splatF32(-0.284496736))),
    set(e, fma(get(e), get(t), f.splatF32(0.254829592))),
    set(e, mul(get(e), get(t))),
    set(e, sub(f.splatF32(1), mul(get(e), exp(f, f32x4.neg(mul(get(z), get(z))), [a, b, c])))),
    set(e, v128.or(get(e), v128.and(get(x), f.splatI32(-0x8000_0000)))),
    mul(mul(get(x), f.splatF32(0.5)), add(get(e), f.splatF32(1))),
  );
}

/** 0.5·x·(1 + tanh(u)) = x · sigmoid(2u), u = √(2/π)·(x + 0.044715·x³). */
function geluTanh(f: FunctionBuilder, x: Local, temporaries: readonly Local[]): Code {
  const [a, b, c, u] = temporaries;
  return sequence(
    set(u, mul(mul(get(x), get(x)), f.splatF32(0.044715))),
    set(u, mul(fma(get(u), get(x), get(x)), f.splatF32(2 * Math.sqrt(2 / Math.PI)))),
    mul(get(x), sigmoid(f, get(u), [a, b, c])),
  );
}

export function activation(
  f: FunctionBuilder,
  kind: Activation,
  x: Local,
  temporaries: readonly Local[],
): Code {
  switch (kind) {
    case "none":
      return get(x);
    case "relu":
      return f32x4.pmax(get(x), f.splatF32(0));
    case "silu":
      return mul(get(x), sigmoid(f, get(x), temporaries));
    case "quick_gelu":
      return mul(get(x), sigmoid(f, mul(get(x), f.splatF32(1.702)), temporaries));
    case "gelu":
      return gelu(f, x, temporaries);
    case "gelu_tanh":
      return geluTanh(f, x, temporaries);
  }
}

/** Codes of activations in recorded operations. */
export const ACTIVATIONS: readonly Activation[] = ["none", "silu", "gelu", "gelu_tanh", "quick_gelu", "relu"];
