/** Softmax of neighbouring numbers, four at a time. */
import {
  type Code,
  doWhile,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalMax,
  horizontalSum,
  i32,
  type Local,
  sequence,
  set,
  v128,
} from "./emit.ts";
import { exp } from "./exp.ts";
import { advance } from "./head_kernels.ts";

/** Fills the last vector: its exp is 2e−35, and the largest of the numbers makes 1. */
const BELOW_ALL = -1e30;

/**
 * out[i] += factor · softmax of the numbers in [numbers, end), of which there is one at least. Behind both is room for a
 * vector, which is overwritten, and so are the numbers.
 */
export function addSoftmax(
  f: FunctionBuilder,
  numbers: Local,
  end: Local,
  out: Local,
  factor: Code,
): Code {
  const p = f.i32(), to = f.i32(), most = f.v128(), sum = f.v128(), value = f.v128();
  const temporaries = f.vectors(3);
  const overAll = (...body: Code[]) =>
    sequence(set(p, get(numbers)), doWhile(i32.ltU(get(p), get(end)), ...body, advance(p, 16)));
  return sequence(
    v128.store(get(end), f.splatF32(BELOW_ALL)),
    set(most, f.splatF32(BELOW_ALL)),
    overAll(set(most, f32x4.pmax(get(most), v128.load(get(p))))),
    set(most, f32x4.splat(horizontalMax(most))),
    set(sum, v128.constF32(0)),
    overAll(
      set(value, exp(f, f32x4.sub(v128.load(get(p)), get(most)), temporaries)),
      v128.store(get(p), get(value)),
      set(sum, f32x4.add(get(sum), get(value))),
    ),
    set(sum, f32x4.splat(f32.div(factor, horizontalSum(sum)))),
    set(to, get(out)),
    overAll(
      v128.store(get(to), f32x4.fma(v128.load(get(p)), get(sum), v128.load(get(to)))),
      advance(to, 16),
    ),
  );
}
