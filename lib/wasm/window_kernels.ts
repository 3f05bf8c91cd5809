/** Loops of kv_window over scores that have been summed. Lanes are slots. */
import {
  type Code,
  F32,
  f32,
  f32x4,
  get,
  horizontalMax,
  I32,
  i32,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  when,
  whileLoop,
} from "./emit.ts";
import { advance, copyNumbers } from "./head_kernels.ts";
import type { Kernels, Machine } from "./machine.ts";

/** smooth and lift; addresses in bytes. */
export function windowKernels(machine: Machine): Kernels {
  return machine.kernels("window", () => {
    const module = new ModuleBuilder();
    addSmooth(module);
    addLift(module);
    return module;
  });
}

/**
 * smooth(sums, count, reach, divisor, work, out): out[i] = Σ sums[i − reach … i + reach] / divisor for i < count; what lies outside
 * counts as zero. Before and behind the sums there is room for `reach` numbers and a vector, which is overwritten.
 */
function addSmooth(module: ModuleBuilder): void {
  module.add("smooth", [I32, I32, I32, F32, I32, I32], (f, sums, count, reach, divisor, work, out) => {
    const at = f.i32(), from = f.i32(), to = f.i32(), end = f.i32(), behind = f.i32(), sum = f.v128();
    const quotient = f.v128();
    const zeros = (begin: Code, stop: Code) =>
      sequence(
        set(at, begin),
        set(end, stop),
        whileLoop(i32.ltU(get(at), get(end)), f32.store(get(at), f32.const(0)), advance(at, 4)),
      );
    return sequence(
      set(reach, i32.shl(get(reach), i32.const(2))),
      set(behind, i32.add(get(sums), i32.shl(get(count), i32.const(2)))),
      zeros(i32.sub(get(sums), get(reach)), get(sums)),
      zeros(get(behind), i32.add(i32.add(get(behind), get(reach)), i32.const(16))),
      set(quotient, f32x4.splat(get(divisor))),
      set(from, get(sums)),
      set(to, get(work)),
      whileLoop(
        i32.ltU(get(from), get(behind)),
        set(sum, v128.constF32(0)),
        set(at, i32.sub(get(from), get(reach))),
        set(end, i32.add(i32.add(get(from), get(reach)), i32.const(4))),
        whileLoop(
          i32.ltU(get(at), get(end)),
          set(sum, f32x4.add(get(sum), v128.load(get(at)))),
          advance(at, 4),
        ),
        v128.store(get(to), f32x4.div(get(sum), get(quotient))),
        advance(from, 16),
        advance(to, 16),
      ),
      copyNumbers(f, work, count, out),
    );
  });
}

/** What is done to one slot, or to four. */
interface Lanes {
  readonly load: (at: Code) => Code;
  readonly store: (at: Code, value: Code) => Code;
  readonly add: (a: Code, b: Code) => Code;
  readonly div: (a: Code, b: Code) => Code;
  readonly max: (a: Code, b: Code) => Code;
  readonly all: (number: Code) => Code;
}
const ONE: Lanes = { ...f32, all: (number) => number };
const FOUR: Lanes = { ...v128, add: f32x4.add, div: f32x4.div, max: f32x4.pmax, all: f32x4.splat };

/**
 * lift(rows, rowBytes, heads, count, slots, shared): each head's numbers from `count` up to `slots` become one more than the largest
 * of all heads' numbers before them; if `shared`, these first become their mean over the heads. Numbers are at least 0.
 */
function addLift(module: ModuleBuilder): void {
  module.add("lift", range(6).map(() => I32), (f, rows, rowBytes, heads, count, slots, shared) => {
    const at = f.i32(), row = f.i32(), end = f.i32(), last = f.i32();
    const sums = f.v128(), sum = f.f32(), mosts = f.v128(), most = f.f32();
    const overHeads = (...body: Code[]) =>
      sequence(
        set(row, get(at)),
        set(last, i32.add(get(at), i32.mul(get(heads), get(rowBytes)))),
        whileLoop(i32.ltU(get(row), get(last)), ...body, set(row, i32.add(get(row), get(rowBytes)))),
      );
    const upTo = (slot: Code, bytes: number, ...body: Code[]) =>
      sequence(
        set(end, i32.add(get(rows), i32.shl(slot, i32.const(2)))),
        whileLoop(i32.ltU(get(at), get(end)), ...body, advance(at, bytes)),
      );
    const join = (lanes: Lanes, mean: Local, largest: Local) =>
      sequence(
        when(
          get(shared),
          set(mean, lanes.all(f32.const(0))),
          overHeads(set(mean, lanes.add(get(mean), lanes.load(get(row))))),
          set(mean, lanes.div(get(mean), lanes.all(f32.fromU32(get(heads))))),
          overHeads(lanes.store(get(row), get(mean))),
        ),
        overHeads(set(largest, lanes.max(get(largest), lanes.load(get(row))))),
      );
    return sequence(
      set(at, get(rows)),
      set(mosts, v128.constF32(0)),
      upTo(i32.and(get(count), i32.const(-4)), 16, join(FOUR, sums, mosts)),
      set(most, horizontalMax(mosts)),
      upTo(get(count), 4, join(ONE, sum, most)),
      set(most, f32.add(get(most), f32.const(1))),
      upTo(get(slots), 4, overHeads(f32.store(get(row), get(most)))),
    );
  });
}
