/**
 * Loops of kv_expected. μ and Σ are turned by R on one side of a product with keys: keys are turned back instead, (Rμ)·k = μ·(Rᵀk)
 * and kᵀ(RΣRᵀ)k = (Rᵀk)ᵀΣ(Rᵀk), which is less work than turning a form of headDim². Lanes are slots.
 */
import {
  type Code,
  doWhile,
  F32,
  f32x4,
  type FunctionBuilder,
  get,
  I32,
  i32,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  whileLoop,
} from "./emit.ts";
import { advance, integers, pageAt, widened } from "./head_kernels.ts";
import type { Kernels, Machine } from "./machine.ts";
import { pageKey, type PageShape } from "./page.ts";
import { addSoftmax } from "./softmax.ts";
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";

/** logits and weights; addresses in bytes, `head` that of the head in page 0, `table` of page numbers. */
export function expectedKernels(machine: Machine, page: PageShape): Kernels {
  return machine.kernels(`expected ${pageKey(page)}`, () => {
    const module = new ModuleBuilder();
    addLogits(module, page);
    module.add("weights", [I32, I32, I32, F32], (f, logits, count, out, factor) => {
      const end = f.i32();
      return sequence(
        set(end, i32.add(get(logits), i32.mul(get(count), i32.const(4)))),
        addSoftmax(f, logits, end, out, get(factor)),
      );
    });
    return module;
  });
}

/**
 * logits(table, pages, head, pageBytes, out, moments, angles, keys, rows, scale, square): out[slot] = scale · μ·k + square · kᵀΣk of keys
 * turned back. moments: μ, then Σ, symmetric, of which `rows` are read (headDim, or 0 to leave it out). `keys` is room for one
 * page's keys in f32.
 */
function addLogits(module: ModuleBuilder, page: PageShape): void {
  const types = [...integers(9), F32, F32], vectors = range(page.slots / 4);
  module.add(
    "logits",
    types,
    (f, table, pages, head, pageBytes, out, moments, angles, keys, rows, scale, square) => {
      const form = f.i32(), totals = f.vectors(vectors.length);
      const put = (factor: Local, more: (v: number) => Code) =>
        sequence(
          ...totals.map((total, v) =>
            v128.store(get(out), f32x4.fma(get(total), f32x4.splat(get(factor)), more(v)), v * 16)
          ),
        );
      return sequence(
        set(form, i32.add(get(moments), i32.const(page.headDim * 4))),
        doWhile(
          get(pages),
          turnBack(f, page, pageAt(head, table, pageBytes), moments, angles, keys, totals),
          put(scale, () => f.splatF32(0)),
          quadratic(f, page, form, keys, rows, totals),
          put(square, (v) => v128.load(get(out), v * 16)),
          advance(out, page.slots * 4),
          advance(table, 4),
          advance(pages, -1),
        ),
      );
    },
  );
}

/** Keys [headDim][slots] of a page, turned back, into `keys`; totals = μ·k. */
function turnBack(
  f: FunctionBuilder,
  page: PageShape,
  page0: Code,
  moments: Local,
  angles: Local,
  keys: Local,
  totals: readonly Local[],
): Code {
  const { headDim, slots, dtype } = page, size = KV_ELEMENT_BYTES[dtype], half = headDim / 2;
  const from = f.i32(), to = f.i32(), angle = f.i32(), mean = f.i32(), left = f.i32();
  const a = f.v128(), b = f.v128(), cos = f.v128(), sin = f.v128(), turned = f.v128();
  const low = f.v128(), high = f.v128();
  return sequence(
    set(from, page0),
    set(to, get(keys)),
    set(angle, get(angles)),
    set(mean, get(moments)),
    ...totals.map((total) => set(total, v128.constF32(0))),
    set(left, i32.const(half)),
    doWhile(
      get(left),
      set(cos, v128.load32Splat(get(angle))),
      set(sin, v128.load32Splat(get(angle), half * 4)),
      set(low, v128.load32Splat(get(mean))),
      set(high, v128.load32Splat(get(mean), half * 4)),
      ...totals.map((total, v) =>
        sequence(
          set(a, widened(f, page, get(from), v * 4)),
          set(b, widened(f, page, get(from), half * slots + v * 4)),
          set(turned, f32x4.fma(get(b), get(sin), f32x4.mul(get(a), get(cos)))),
          v128.store(get(to), get(turned), v * 16),
          set(total, f32x4.fma(get(turned), get(low), get(total))),
          set(turned, f32x4.fnma(get(a), get(sin), f32x4.mul(get(b), get(cos)))),
          v128.store(get(to), get(turned), half * slots * 4 + v * 16),
          set(total, f32x4.fma(get(turned), get(high), get(total))),
        )
      ),
      advance(from, slots * size),
      advance(to, slots * 4),
      advance(angle, 4),
      advance(mean, 4),
      advance(left, -1),
    ),
  );
}

/** totals = Σ_i k_i · (2 Σ_{j < i} form[i, j] · k_j + form[i, i] · k_i), two i and two j at a time: each k_j is loaded once for both i. */
function quadratic(
  f: FunctionBuilder,
  page: PageShape,
  form: Local,
  keys: Local,
  rows: Local,
  totals: readonly Local[],
): Code {
  const row = page.slots * 4, formRow = page.headDim * 4;
  const i = f.i32(), at = f.i32(), own = f.i32(), other = f.i32();
  const first = f.vectors(totals.length), second = f.vectors(totals.length);
  const x = f.v128(), y = f.v128(), key = f.v128(), twice = f.v128();
  return sequence(
    ...totals.map((total) => set(total, v128.constF32(0))),
    set(own, get(keys)),
    set(i, i32.const(0)),
    whileLoop(
      i32.ltU(get(i), get(rows)),
      ...[...first, ...second].map((sum) => set(sum, v128.constF32(0))),
      set(at, i32.add(get(form), i32.mul(get(i), i32.const(formRow)))),
      set(other, get(keys)),
      whileLoop(
        i32.ltU(get(other), get(own)),
        ...range(2).map((j) =>
          sequence(
            set(x, v128.load32Splat(get(at), 4 * j)),
            set(y, v128.load32Splat(get(at), formRow + 4 * j)),
            ...totals.map((_, v) =>
              sequence(
                set(key, v128.load(get(other), j * row + v * 16)),
                set(first[v], f32x4.fma(get(x), get(key), get(first[v]))),
                set(second[v], f32x4.fma(get(y), get(key), get(second[v]))),
              )
            ),
          )
        ),
        advance(at, 8),
        advance(other, 2 * row),
      ),
      // The corner: form[i, i], form[i + 1, i], form[i + 1, i + 1].
      ...totals.map((total, v) =>
        sequence(
          set(key, v128.load(get(own), v * 16)),
          set(x, f32x4.mul(v128.load32Splat(get(at)), get(key))),
          set(twice, f32x4.add(get(first[v]), get(first[v]))),
          set(total, f32x4.fma(f32x4.add(get(twice), get(x)), get(key), get(total))),
          set(y, f32x4.fma(v128.load32Splat(get(at), formRow), get(key), get(second[v]))),
          set(key, v128.load(get(own), row + v * 16)),
          set(x, f32x4.mul(v128.load32Splat(get(at), formRow + 4), get(key))),
          set(twice, f32x4.add(get(y), get(y))),
          set(total, f32x4.fma(f32x4.add(get(twice), get(x)), get(key), get(total))),
        )
      ),
      advance(own, 2 * row),
      set(i, i32.add(get(i), i32.const(2))),
    ),
  );
}
