/**
 * quantise_rows: the activations of a dot product, see quantised_tile.ts. Threads take whole rows. A row becomes groups of
 * 32 i16, each with its scale behind it.
 */
import {
  doWhile,
  f32,
  f32x4,
  get,
  horizontalMax,
  i16x8,
  I32,
  i32,
  i32x4,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  whileLoop,
} from "./emit.ts";
import type { Machine } from "./machine.ts";
import { GROUP, groups } from "./quantised.ts";
import { ROW_GROUP_BYTES, ROW_SCALE } from "./quantised_tile.ts";

export const QuantiseWord = { x: 0, rows: 1, cols: 2, out: 3 } as const;

/** Floors a group's largest value, so that an all-zero group divides by something. */
const LARGEST_MIN = 1e-30;

/** quantise(x, to, k · 4): one row to groups of i16; places behind the last input are zero. */
function addQuantiseRow(module: ModuleBuilder): void {
  module.add("quantise", [I32, I32, I32], (f, x, to, kBytes) => {
    const end = f.i32(), groupEnd = f.i32(), p = f.i32(), q = f.i32(), largest = f.f32();
    const max = f.v128(), factor = f.v128(), value = f.v128();
    const rounded = i32x4.truncF32x4(f32x4.nearest(f32x4.mul(v128.load(get(p)), get(factor))));
    return sequence(
      set(end, i32.add(get(x), get(kBytes))),
      whileLoop(
        i32.ltU(get(x), get(end)),
        set(groupEnd, i32.add(get(x), i32.const(GROUP * 4))),
        set(groupEnd, i32.select(get(groupEnd), get(end), i32.ltU(get(groupEnd), get(end)))),
        set(max, v128.constF32(0)),
        set(p, get(x)),
        doWhile(
          i32.ltU(get(p), get(groupEnd)),
          set(max, f32x4.pmax(get(max), f32x4.abs(v128.load(get(p))))),
          set(p, i32.add(get(p), i32.const(16))),
        ),
        set(largest, f32.max(horizontalMax(max), f32.const(LARGEST_MIN))),
        f32.store(get(to), f32.div(get(largest), f32.const(32767)), ROW_SCALE),
        set(factor, f32x4.splat(f32.div(f32.const(32767), get(largest)))),
        ...range(4).map((part) => v128.store(get(to), f.splatI32(0), part * 16)),
        set(p, get(x)),
        set(q, get(to)),
        doWhile(
          i32.ltU(get(p), get(groupEnd)),
          set(value, rounded),
          v128.store64(get(q), i16x8.narrowI32x4S(get(value), get(value))),
          set(p, i32.add(get(p), i32.const(16))),
          set(q, i32.add(get(q), i32.const(8))),
        ),
        set(x, get(groupEnd)),
        set(to, i32.add(get(to), i32.const(ROW_GROUP_BYTES))),
      ),
    );
  });
}

export function runQuantiseRows(machine: Machine, words: Uint32Array): void {
  const { quantise } = machine.kernels("quantise", () => {
    const module = new ModuleBuilder();
    addQuantiseRow(module);
    return module;
  });
  const cols = words[QuantiseWord.cols], rowBytes = groups(cols) * ROW_GROUP_BYTES;
  const [first, last] = machine.share(words[QuantiseWord.rows]);
  for (let row = first; row < last; row++) {
    quantise(words[QuantiseWord.x] + row * cols * 4, words[QuantiseWord.out] + row * rowBytes, cols * 4);
  }
}
