/**
 * Products with quantised weights, in two families that differ in their last bits.
 *
 * exact: weight = f32(q) · scale, then the f32 chain of tile.ts: the same formula as any backend's.
 * dot: each row of x is quantised per group of 32 to 15 bits and a sign (q = round(x · 32767 / max|x|)); a group's sum of
 * integer products is exact on every machine (127 · 32767 · 32 < 2^31); groups are added in f32, ascending:
 * y = fma(f32(sum), rowScale · weightScale, y). Relative error of the rows about 3e-9 (NMSE).
 */
import {
  type Code,
  doWhile,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalMax,
  i16x8,
  I32,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  type ValueType,
  whileLoop,
} from "./emit.ts";
import { blockBytes, GROUP, loadPairs, type QuantisedFormat, scalesOffset, stepBytes } from "./quantised.ts";

/** A group of a quantised row: 32 i16, then its scale; a multiple of 16 bytes. */
export const ROW_GROUP_BYTES = 80;
const ROW_SCALE = 64;

export const DOT_ROWS = 4;

/** Floors a group's largest value, so that an all-zero group divides by something. */
const LARGEST_MIN = 1e-30;

/** Weights of one step as f32: `[first input, second input][outputs 0 … 3, outputs 4 … 7]`, scaled. */
function dequantise(
  f: FunctionBuilder,
  format: QuantisedFormat,
  pointer: Local,
  step: number,
  scales: readonly Local[],
  into: readonly (readonly Local[])[],
): Code {
  const pair = f.v128(), wide = f.v128();
  return sequence(...[0, 1].map((half) =>
    sequence(
      set(pair, loadPairs(f, format, pointer, step * stepBytes(format), half, wide)),
      set(
        into[0][half],
        f32x4.mul(
          f32x4.convertI32x4S(i32x4.shrS(i32x4.shl(get(pair), i32.const(16)), i32.const(16))),
          get(scales[half]),
        ),
      ),
      set(
        into[1][half],
        f32x4.mul(f32x4.convertI32x4S(i32x4.shrS(get(pair), i32.const(16))), get(scales[half])),
      ),
    )
  ));
}

/** Visits a panel's inputs four at a time, group by group; `body` sees two steps at `at`. */
function overInputs(
  f: FunctionBuilder,
  format: QuantisedFormat,
  panel: Local,
  kBytes: Local,
  scales: readonly Local[],
  body: (at: Local) => Code,
): Code {
  const left = f.i32(), inGroup = f.i32(), at = f.i32();
  return sequence(
    set(left, i32.shrU(get(kBytes), i32.const(4))), // fours of inputs
    doWhile(
      get(left),
      ...scales.map((s, half) => set(s, v128.load(get(panel), scalesOffset(format) + half * 16, 1))),
      set(inGroup, i32.select(i32.const(GROUP / 4), get(left), i32.ltU(i32.const(GROUP / 4), get(left)))),
      set(left, i32.sub(get(left), get(inGroup))),
      set(at, get(panel)),
      doWhile(
        get(inGroup),
        body(at),
        set(at, i32.add(get(at), i32.const(2 * stepBytes(format)))),
        set(inGroup, i32.sub(get(inGroup), i32.const(1))),
      ),
      set(panel, i32.add(get(panel), i32.const(blockBytes(format)))),
    ),
  );
}

/** exact(a, panel, c, k · 4): one row, one panel. */
export function addExact(module: ModuleBuilder, format: QuantisedFormat): void {
  module.add("exact", [I32, I32, I32, I32], (f, a, panel, c, kBytes) => {
    const sums = f.vectors(2), scales = f.vectors(2), value = f.v128();
    const weights = [f.vectors(2), f.vectors(2)];
    const body = (at: Local) =>
      sequence(
        ...[0, 1].map((step) =>
          sequence(
            dequantise(f, format, at, step, scales, weights),
            ...[0, 1].map((input) =>
              sequence(
                set(value, v128.load32Splat(get(a), (2 * step + input) * 4)),
                ...sums.map((sum, half) =>
                  set(sum, f32x4.fma(get(value), get(weights[input][half]), get(sum)))
                ),
              )
            ),
          )
        ),
        set(a, i32.add(get(a), i32.const(16))),
      );
    return sequence(
      ...sums.map((sum) => set(sum, v128.constF32(0))),
      overInputs(f, format, panel, kBytes, scales, body),
      ...sums.map((sum, half) => v128.store(get(c), get(sum), half * 16)),
    );
  });
}

/** expand(panel, to, k · 4): one panel to f32, [k][8], inside the weight memory. */
export function addQuantisedExpand(module: ModuleBuilder, format: QuantisedFormat): void {
  module.add("expand", [I32, I32, I32], (f, panel, to, kBytes) => {
    const scales = f.vectors(2);
    const weights = [f.vectors(2), f.vectors(2)];
    const body = (at: Local) =>
      sequence(
        ...[0, 1].map((step) =>
          sequence(
            dequantise(f, format, at, step, scales, weights),
            ...weights.flatMap((input, k) =>
              input.map((w, half) => v128.store(get(to), get(w), (2 * step + k) * 32 + half * 16, 1))
            ),
          )
        ),
        set(to, i32.add(get(to), i32.const(4 * 32))),
      );
    return overInputs(f, format, panel, kBytes, scales, body);
  });
}

/** quantise(x, to, k · 4): one row to groups of i16; places behind the last input are zero. */
export function addQuantiseRow(module: ModuleBuilder): void {
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

/** {rows}x{panels}(quantised rows, bytes between them, panel, bytes between panels, c, bytes between rows of c, groups). */
export function addDot(module: ModuleBuilder, format: QuantisedFormat, rows: number, panels: number): void {
  const types: ValueType[] = [I32, I32, I32, I32, I32, I32, I32];
  module.add(`${rows}x${panels}`, types, (f, a, aStride, b, bStride, c, cStride, groupCount) => {
    const vectors = 2 * panels;
    const row = f.pointers(rows), panel = f.pointers(panels), to = f.i32(), wide = f.v128(), value = f.v128();
    const totals = range(rows).map(() => f.vectors(vectors)),
      sums = range(rows).map(() => f.vectors(vectors));
    const weights = f.vectors(vectors);
    const step = (s: number) =>
      sequence(
        ...weights.map((w, v) =>
          set(w, loadPairs(f, format, panel[v >> 1], s * stepBytes(format), v & 1, wide))
        ),
        ...sums.map((line, r) =>
          sequence(
            set(value, v128.load32Splat(get(row[r]), s * 4)),
            ...line.map((sum, v) =>
              set(sum, i32x4.add(get(sum), i32x4.dotI16x8S(get(weights[v]), get(value))))
            ),
          )
        ),
      );
    const addGroup = totals.map((line, r) =>
      sequence(
        set(value, v128.load32Splat(get(row[r]), ROW_SCALE)),
        ...line.map((total, v) => {
          const weightScale = v128.load(get(panel[v >> 1]), scalesOffset(format) + (v & 1) * 16, 1);
          const scale = f32x4.mul(get(value), weightScale);
          return set(total, f32x4.fma(f32x4.convertI32x4S(get(sums[r][v])), scale, get(total)));
        }),
      )
    );
    const pointers = (list: readonly Local[], first: Local, stride: Local) =>
      sequence(...list.map((p, i) => set(p, i === 0 ? get(first) : i32.add(get(list[i - 1]), get(stride)))));
    return sequence(
      pointers(row, a, aStride),
      pointers(panel, b, bStride),
      ...totals.flat().map((total) => set(total, v128.constF32(0))),
      doWhile(
        get(groupCount),
        ...sums.flat().map((sum) => set(sum, f.splatI32(0))),
        ...range(GROUP / 2).map(step),
        ...addGroup,
        ...row.map((p) => set(p, i32.add(get(p), i32.const(ROW_GROUP_BYTES)))),
        ...panel.map((p) => set(p, i32.add(get(p), i32.const(blockBytes(format))))),
        set(groupCount, i32.sub(get(groupCount), i32.const(1))),
      ),
      set(to, get(c)),
      ...totals.map((line) =>
        sequence(
          ...line.map((total, v) => v128.store(get(to), get(total), v * 16)),
          set(to, i32.add(get(to), get(cStride))),
        )
      ),
    );
  });
}
