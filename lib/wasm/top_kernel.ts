/** The loop of kv_top. Lanes are slots. */
import {
  type Code,
  doWhile,
  f32x4,
  type FunctionBuilder,
  get,
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
import type { Kernel, Machine } from "./machine.ts";

/** Below the key of every number. */
const LEAST_KEY = -0x8000_0000;

/** Vectors that are counted at a time; keys have room for as many behind the last. */
const TOGETHER = 2;

/**
 * top(scores, slots, count, kept, keys): the `count` slots with the largest scores, ascending; ties to the lower slot. No more than
 * `count` words of `kept` are written; `keys` is room for a number a slot and 16 more. Numbers become integers that order as they
 * do, and the least one kept is found by halving the range of what it can be: no step depends on what was found where.
 */
export function topKernel(machine: Machine): Kernel {
  return machine.kernels("top", () => {
    const module = new ModuleBuilder();
    module.add("top", integers(5), (f, scores, slots, count, kept, keys) => {
      const end = f.i32(), padded = f.i32(), low = f.i32(), high = f.i32();
      return sequence(
        set(end, i32.add(get(keys), i32.shl(get(slots), i32.const(2)))),
        set(padded, i32.and(i32.add(get(slots), i32.const(4 * TOGETHER - 1)), i32.const(-4 * TOGETHER))),
        toKeys(f, scores, keys, end),
        bounds(f, keys, end, low, high),
        ...range(TOGETHER).map((v) => v128.store(get(end), f.splatI32(LEAST_KEY), 16 * v)),
        choose(f, slots, count, kept, keys, padded, low, high),
      );
    });
    return module;
  }).top;
}

/** Keys of all scores, whole vectors: zeros of both signs are one key. */
function toKeys(f: FunctionBuilder, scores: Local, keys: Local, end: Local): Code {
  const to = f.i32(), x = f.v128();
  return sequence(
    set(to, get(keys)),
    doWhile(
      i32.ltU(get(to), get(end)),
      set(x, f32x4.add(v128.load(get(scores)), f.splatF32(0))),
      v128.store(
        get(to),
        v128.xor(get(x), v128.and(i32x4.shrS(get(x), i32.const(31)), f.splatI32(0x7fff_ffff))),
      ),
      advance(scores, 16),
      advance(to, 16),
    ),
  );
}

/** The least and the largest key. */
function bounds(f: FunctionBuilder, keys: Local, end: Local, low: Local, high: Local): Code {
  const at = f.i32(), least = f.v128(), most = f.v128();
  const join = (vector: Local, of: (a: Code, b: Code) => Code) =>
    sequence(
      set(vector, of(get(vector), i32x4.shuffle(get(vector), get(vector), [2, 3, 0, 1]))),
      set(vector, of(get(vector), i32x4.shuffle(get(vector), get(vector), [1, 0, 3, 2]))),
    );
  return sequence(
    set(least, v128.load32Splat(get(keys))),
    set(most, get(least)),
    v128.store(get(end), get(least)),
    set(at, get(keys)),
    doWhile(
      i32.ltU(get(at), get(end)),
      set(least, i32x4.minS(get(least), v128.load(get(at)))),
      set(most, i32x4.maxS(get(most), v128.load(get(at)))),
      advance(at, 16),
    ),
    join(least, i32x4.minS),
    join(most, i32x4.maxS),
    set(low, i32x4.extract(get(least), 0)),
    set(high, i32x4.extract(get(most), 0)),
  );
}

/** Writes the slots chosen. `low` and `high` bound the least key that is. */
function choose(
  f: FunctionBuilder,
  slots: Local,
  count: Local,
  kept: Local,
  keys: Local,
  padded: Local,
  low: Local,
  high: Local,
): Code {
  const middle = f.i32(), reached = f.i32(), found = f.i32(), ties = f.i32();
  const at = f.i32(), end = f.i32(), sums = f.vectors(TOGETHER), limit = f.v128();
  /** Keys that are at least `least`. */
  const countFrom = (least: Code): Code =>
    sequence(
      set(limit, i32x4.splat(least)),
      ...sums.map((sum) => set(sum, v128.constI32(0))),
      set(at, get(keys)),
      set(end, i32.add(get(keys), i32.shl(get(padded), i32.const(2)))),
      doWhile(
        i32.ltU(get(at), get(end)),
        ...sums.map((sum, v) =>
          set(sum, i32x4.add(get(sum), i32x4.ltS(v128.load(get(at), 16 * v), get(limit))))
        ),
        advance(at, 16 * TOGETHER),
      ),
      ...sums.slice(1).map((sum) => set(sums[0], i32x4.add(get(sums[0]), get(sum)))),
      set(found, i32.add(get(padded), horizontalSumI32(sums[0]))),
    );
  const span = i32.sub(get(high), get(low)), enough = i32.eqz(i32.ltU(get(found), get(count)));
  const slot = f.i32(), key = f.i32(), equal = f.i32(), above = f.i32();
  return sequence(
    set(reached, get(slots)),
    whileLoop(
      i32.and(i32.ltS(get(low), get(high)), i32.ltU(get(count), get(reached))),
      // Rounded up, and above the least number.
      set(middle, i32.add(get(low), i32.sub(span, i32.shrU(span, i32.const(1))))),
      countFrom(get(middle)),
      set(high, i32.select(get(high), i32.sub(get(middle), i32.const(1)), enough)),
      set(low, i32.select(get(middle), get(low), enough)),
      set(reached, i32.select(get(found), get(reached), enough)),
    ),
    // Of the slots at the threshold the first ones fill what those above it leave.
    countFrom(i32.add(get(low), i32.const(1))),
    set(ties, i32.sub(get(count), get(found))),
    set(end, i32.add(get(kept), i32.shl(get(count), i32.const(2)))),
    set(at, get(keys)),
    set(slot, i32.const(0)),
    doWhile(
      i32.ltU(get(kept), get(end)),
      set(key, i32.load(get(at))),
      set(above, i32.ltS(get(low), get(key))),
      set(equal, i32.and(i32.eq(get(low), get(key)), i32.ltU(i32.const(0), get(ties)))),
      i32.store(get(kept), get(slot)),
      set(kept, i32.add(get(kept), i32.shl(i32.add(get(above), get(equal)), i32.const(2)))),
      set(ties, i32.sub(get(ties), get(equal))),
      advance(at, 4),
      advance(slot, 1),
    ),
  );
}
