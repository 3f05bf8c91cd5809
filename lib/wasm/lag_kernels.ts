/** Loops of kv_lag over the f32 rows [slot][headDim] of one partition and the next. Lanes are channels, then slots. */
import {
  type Code,
  doWhile,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalSum,
  horizontalSumI32,
  i32,
  i32x4,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  whileLoop,
} from "./emit.ts";
import { advance, integers } from "./head_kernels.ts";
import type { Kernels, Machine } from "./machine.ts";
import { addSoftmax } from "./softmax.ts";

/** spread and ranks; addresses in bytes. */
export function lagKernels(machine: Machine, headDim: number): Kernels {
  return machine.kernels(`lag ${headDim}`, () => {
    const module = new ModuleBuilder();
    addSpread(module, headDim);
    addRanks(module);
    return module;
  });
}

/**
 * spread(own, next, count, range, work, out): out[slot] += half the softmax, over `count` slots of `own`, of deviations from the range
 * of as many of `next`. `range` is room for two rows, `work` and `out` for a number a slot, in whole vectors and one more.
 */
function addSpread(module: ModuleBuilder, headDim: number): void {
  const rowBytes = headDim * 4;
  module.add("spread", integers(6), (f, own, next, count, room, work, out) => {
    const end = f.i32();
    return sequence(
      ranges(f, headDim, next, count, room),
      set(end, i32.add(get(work), i32.mul(get(count), i32.const(4)))),
      deviations(f, headDim, own, room, work, end, rowBytes),
      addSoftmax(f, work, end, out, f32.const(0.5)),
    );
  });
}

/** The least of each channel, and behind them 1 / (largest − least); a channel without a range says nothing: 0. */
function ranges(f: FunctionBuilder, headDim: number, rows: Local, count: Local, room: Local): Code {
  const vectors = headDim / 4, together = [4, 2, 1].find((count) => vectors % count === 0)!;
  const at = f.i32(), left = f.i32(), quads = f.i32(), from = f.i32(), to = f.i32();
  const low = f.vectors(together), high = f.vectors(together), x = f.v128();
  return sequence(
    set(from, get(rows)),
    set(to, get(room)),
    set(quads, i32.const(vectors / together)),
    doWhile(
      get(quads),
      set(at, get(from)),
      ...low.map((least, v) => sequence(set(least, v128.load(get(at), v * 16)), set(high[v], get(least)))),
      set(left, get(count)),
      doWhile(
        get(left),
        ...low.map((least, v) =>
          sequence(
            set(x, v128.load(get(at), v * 16)),
            set(least, f32x4.pmin(get(least), get(x))),
            set(high[v], f32x4.pmax(get(high[v]), get(x))),
          )
        ),
        advance(at, headDim * 4),
        advance(left, -1),
      ),
      ...low.map((least, v) =>
        sequence(
          v128.store(get(to), get(least), v * 16),
          set(x, f32x4.sub(get(high[v]), get(least))),
          v128.store(
            get(to),
            v128.and(
              f32x4.div(f.splatF32(1), get(x)),
              // A positive number's bits are a positive integer.
              i32x4.ltS(f.splatI32(0), get(x)),
            ),
            headDim * 4 + v * 16,
          ),
        )
      ),
      advance(from, 16 * together),
      advance(to, 16 * together),
      advance(quads, -1),
    ),
  );
}

/** Of every row from `own` on: √(Σ (x − mean)² / (headDim − 1)) of x = (row − least) · inverse, into [work, end). */
function deviations(
  f: FunctionBuilder,
  headDim: number,
  own: Local,
  room: Local,
  work: Local,
  end: Local,
  rowBytes: number,
): Code {
  const at = f.i32(), row = f.i32(), sum = f.v128(), mean = f.v128(), x = f.v128();
  const vectors = range(headDim / 4);
  const scaled = (v: number) =>
    f32x4.mul(
      f32x4.sub(v128.load(get(row), v * 16), v128.load(get(room), v * 16)),
      v128.load(get(room), rowBytes + v * 16),
    );
  return sequence(
    set(at, get(work)),
    set(row, get(own)),
    doWhile(
      i32.ltU(get(at), get(end)),
      set(sum, v128.constF32(0)),
      ...vectors.map((v) => set(sum, f32x4.add(get(sum), scaled(v)))),
      set(mean, f32x4.splat(f32.div(horizontalSum(sum), f32.const(headDim)))),
      set(sum, v128.constF32(0)),
      ...vectors.map((v) =>
        sequence(
          set(x, f32x4.sub(scaled(v), get(mean))),
          set(sum, f32x4.fma(get(x), get(x), get(sum))),
        )
      ),
      f32.store(get(at), f32.sqrt(f32.div(horizontalSum(sum), f32.const(headDim - 1)))),
      advance(at, 4),
      advance(row, rowBytes),
    ),
  );
}

/**
 * ranks(numbers, count, out): out[i] = (numbers below the i-th, and equal ones before it) / count. Numbers are at least 0, so that
 * their bits order as they do; behind the last is room for a vector, which is overwritten, and for one behind `out`.
 */
function addRanks(module: ModuleBuilder): void {
  module.add("ranks", integers(3), (f, numbers, count, out) => {
    const end = f.i32(), own = f.i32(), other = f.i32(), to = f.i32(), x = f.v128();
    const limits = f.vectors(4), below = f.vectors(4), divisor = f.v128();
    const add = (limit: (i: number) => Code) =>
      sequence(
        set(x, v128.load(get(other))),
        ...below.map((sum, i) => set(sum, i32x4.sub(get(sum), i32x4.ltS(get(x), limit(i))))),
        advance(other, 16),
      );
    return sequence(
      set(end, i32.add(get(numbers), i32.mul(get(count), i32.const(4)))),
      v128.store(get(end), v128.constF32(Infinity)),
      set(divisor, f32x4.splat(f32.fromU32(get(count)))),
      set(own, get(numbers)),
      set(to, get(out)),
      doWhile(
        i32.ltU(get(own), get(end)),
        ...limits.map((limit, i) => set(limit, v128.load32Splat(get(own), 4 * i))),
        ...below.map((sum) => set(sum, v128.constI32(0))),
        set(other, get(numbers)),
        // Equal ones count where they come before: below the next number that there is.
        whileLoop(
          i32.ltU(get(other), get(own)),
          add((i) => i32x4.add(get(limits[i]), f.splatI32(1))),
        ),
        add((i) => i32x4.add(get(limits[i]), f.lanesI32(range(4).map((l) => Number(l < i))))),
        whileLoop(i32.ltU(get(other), get(end)), add((i) => get(limits[i]))),
        ...below.map((sum, i) => f32.store(get(to), f32.fromU32(horizontalSumI32(sum)), 4 * i)),
        v128.store(get(to), f32x4.div(v128.load(get(to)), get(divisor))),
        advance(to, 16),
        advance(own, 16),
      ),
    );
  });
}
