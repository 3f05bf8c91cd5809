/**
 * rms_norm and layer_norm, one row at a time: dim is a multiple of 4; four sums over every fourth vector, then lanes
 * (0 + 1) + (2 + 3). Threads take whole rows.
 */
import {
  type Code,
  doWhile,
  F32,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalSum,
  I32,
  i32,
  type Local,
  ModuleBuilder,
  sequence,
  set,
  v128,
  whileLoop,
} from "./emit.ts";
import type { Machine } from "./machine.ts";

export const NormWord = { x: 0, rows: 1, dim: 2, weight: 3, bias: 4, eps: 5, out: 6 } as const;

const { add, sub, mul, fma } = f32x4;

/** Sums `term` of every vector of a row into one vector: vector i goes to sum i mod 4. */
function rowSums(
  f: FunctionBuilder,
  from: Local,
  end: Local,
  term: (x: Code, sum: Local) => Code,
  into: Local,
): Code {
  const sums = f.vectors(4), p = f.i32(), wide = f.i32();
  const step = (v: number) => set(sums[v], term(v128.load(get(p), v * 16), sums[v]));
  return sequence(
    ...sums.map((sum) => set(sum, v128.constF32(0))),
    set(p, get(from)),
    set(wide, i32.add(get(from), i32.and(i32.sub(get(end), get(from)), i32.const(~63)))),
    whileLoop(i32.ltU(get(p), get(wide)), ...[0, 1, 2, 3].map(step), set(p, i32.add(get(p), i32.const(64)))),
    whileLoop(i32.ltU(get(p), get(end)), step(0), set(p, i32.add(get(p), i32.const(16)))),
    set(into, add(add(get(sums[0]), get(sums[1])), add(get(sums[2]), get(sums[3])))),
  );
}

/** norm(x, out, weight, bias, dim · 4, rows, eps); both versions take the same parameters, rms ignores bias. */
function buildNorm(kind: "rms" | "layer"): ModuleBuilder {
  const module = new ModuleBuilder();
  module.add("norm", [I32, I32, I32, I32, I32, I32, F32], (f, x, out, weight, bias, dimBytes, rows, eps) => {
    const end = f.i32(), w = f.i32(), b = f.i32(), sum = f.v128(), mean = f.v128(), factor = f.v128();
    const average = () => f32.div(horizontalSum(sum), f32.fromU32(i32.shrU(get(dimBytes), i32.const(2))));
    const centred = (value: Code) => kind === "rms" ? value : sub(value, get(mean));
    const value = f.v128();
    const normed = mul(mul(centred(v128.load(get(x))), get(factor)), v128.load(get(w)));
    return whileLoop(
      get(rows),
      set(end, i32.add(get(x), get(dimBytes))),
      kind === "rms" ? [] : sequence(
        rowSums(f, x, end, (v, s) => add(v, get(s)), sum),
        set(mean, f32x4.splat(average())),
      ),
      rowSums(
        f,
        x,
        end,
        (v, s) => sequence(set(value, centred(v)), fma(get(value), get(value), get(s))),
        sum,
      ),
      set(factor, f32x4.splat(f32.div(f32.const(1), f32.sqrt(f32.add(average(), get(eps)))))),
      set(w, get(weight)),
      set(b, get(bias)),
      doWhile(
        i32.ltU(get(x), get(end)),
        v128.store(get(out), kind === "rms" ? normed : add(normed, v128.load(get(b)))),
        ...[x, out, w, b].map((p) => set(p, i32.add(get(p), i32.const(16)))),
      ),
      set(rows, i32.sub(get(rows), i32.const(1))),
    );
  });
  return module;
}

export function runNorm(kind: "rms" | "layer", machine: Machine, words: Uint32Array, eps: number): void {
  const [first, last] = machine.share(words[NormWord.rows]);
  const bytes = words[NormWord.dim] * 4;
  machine.kernels(`norm ${kind}`, () => buildNorm(kind)).norm(
    words[NormWord.x] + first * bytes,
    words[NormWord.out] + first * bytes,
    words[NormWord.weight],
    words[NormWord.bias],
    bytes,
    last - first,
    eps,
  );
}
