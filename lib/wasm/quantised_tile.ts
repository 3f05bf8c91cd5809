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
  f32x4,
  type FunctionBuilder,
  get,
  I32,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  when,
  whileLoop,
} from "./emit.ts";
import {
  blockBytes,
  fourOf,
  foursOfStep,
  GROUP,
  INPUT_FACTOR,
  inputOf,
  loadStep,
  pairOf,
  pairsOfStep,
  type QuantisedFormat,
  scalesOffset,
  STEP_BYTES,
  steps,
} from "./quantised.ts";
import { TILE_PARAMETERS } from "./sweep.ts";

/** A group of a quantised row: 32 i16, then its scale; a multiple of 16 bytes. */
export const ROW_GROUP_BYTES = 80;
export const ROW_SCALE = 64;

export const DOT_ROWS = 4;

/**
 * Visits panels' inputs four at a time, ascending; `visit` sees four number `index` behind the pointers, and the scales.
 * `advance` moves what goes along with the inputs by so many of them.
 */
function overInputs(
  f: FunctionBuilder,
  format: QuantisedFormat,
  panels: readonly Local[],
  kBytes: Local,
  visit: (index: number, scales: readonly Local[]) => Code,
  advance: (inputs: number) => Code,
): Code {
  const left = f.i32(), scales = f.vectors(2 * panels.length), perStep = foursOfStep(format);
  const loadScales = sequence(...scales.map((scale, v) =>
    set(
      scale,
      f32x4.mul(
        v128.load(get(panels[v >> 1]), scalesOffset(format) + (v & 1) * 16, 1),
        f.splatF32(1 / INPUT_FACTOR[format]),
      ),
    )
  ));
  const move = (bytes: number) => sequence(...panels.map((p) => set(p, i32.add(get(p), i32.const(bytes)))));
  const atLeast = (fours: number) => i32.eqz(i32.ltU(get(left), i32.const(fours)));
  const take = (fours: number) =>
    sequence(
      ...range(fours).map((index) => visit(index, scales)),
      set(left, i32.sub(get(left), i32.const(fours))),
    );
  return sequence(
    set(left, i32.shrU(get(kBytes), i32.const(4))), // fours of inputs
    whileLoop(atLeast(GROUP / 4), loadScales, take(GROUP / 4), advance(GROUP), move(blockBytes(format))),
    // The last group, when it is none of 32.
    when(
      get(left),
      loadScales,
      whileLoop(atLeast(perStep), take(perStep), advance(4 * perStep), move(STEP_BYTES)),
      when(get(left), take(1)),
    ),
  );
}

/** Four number `index` behind a panel's pointer. */
function loadFour(
  f: FunctionBuilder,
  format: QuantisedFormat,
  panel: Local,
  half: number,
  index: number,
): Code {
  const perStep = foursOfStep(format);
  return fourOf(f, format, loadStep(panel, Math.floor(index / perStep), half), index % perStep);
}

/** The exact tile of one row. Its length is k · 4. Returns its index. */
export function addExact(module: ModuleBuilder, format: QuantisedFormat, panels: number): number {
  return module.add(
    `1 row, ${panels} panels`,
    TILE_PARAMETERS,
    (f, a, _aStride, b, bStride, c, _cStride, k) => {
      const sums = f.vectors(2 * panels), bytes = f.vectors(2 * panels), value = f.v128();
      const panel = f.pointers(panels);
      const visit = (index: number, scales: readonly Local[]) =>
        sequence(
          ...bytes.map((four, v) => set(four, loadFour(f, format, panel[v >> 1], v & 1, index))),
          ...range(4).map((i) =>
            sequence(
              set(value, v128.load32Splat(get(a), index * 16 + i * 4)),
              ...sums.map((sum, v) =>
                set(sum, f32x4.fma(get(value), f32x4.mul(inputOf(f, bytes[v], i), get(scales[v])), get(sum)))
              ),
            )
          ),
        );
      return sequence(
        ...panel.map((p, i) => set(p, i === 0 ? get(b) : i32.add(get(panel[i - 1]), get(bStride)))),
        ...sums.map((sum) => set(sum, v128.constF32(0))),
        overInputs(f, format, panel, k, visit, (inputs) => set(a, i32.add(get(a), i32.const(inputs * 4)))),
        ...sums.map((sum, v) => v128.store(get(c), get(sum), v * 16)),
      );
    },
    false,
  );
}

/** expand(panel, to, k · 4): one panel to f32, [k][8], inside the weight memory. */
export function addQuantisedExpand(module: ModuleBuilder, format: QuantisedFormat): void {
  module.add("expand", [I32, I32, I32], (f, panel, to, kBytes) => {
    const bytes = f.v128();
    const visit = (index: number, scales: readonly Local[]) =>
      sequence(...scales.map((scale, half) =>
        sequence(
          set(bytes, loadFour(f, format, panel, half, index)),
          ...range(4).map((i) =>
            v128.store(
              get(to),
              f32x4.mul(inputOf(f, bytes, i), get(scale)),
              (4 * index + i) * 32 + half * 16,
              1,
            )
          ),
        )
      ));
    const advance = (inputs: number) => set(to, i32.add(get(to), i32.const(inputs * 32)));
    return overInputs(f, format, [panel], kBytes, visit, advance);
  });
}

/** A tile of quantised rows. Its length is the number of groups. Returns its index. */
export function addDot(module: ModuleBuilder, format: QuantisedFormat, rows: number, panels: number): number {
  const name = `${rows} rows, ${panels} panels`;
  return module.add(name, TILE_PARAMETERS, (f, a, aStride, b, bStride, c, cStride, groupCount) => {
    const vectors = 2 * panels;
    const row = f.pointers(rows), panel = f.pointers(panels), to = f.i32(), value = f.v128();
    const totals = range(rows).map(() => f.vectors(vectors)),
      sums = range(rows).map(() => f.vectors(vectors));
    const loaded = f.vectors(vectors), weights = f.vectors(vectors);
    const pairs = pairsOfStep(format);
    const step = (s: number) =>
      sequence(
        ...loaded.map((w, v) => set(w, loadStep(panel[v >> 1], s, v & 1))),
        ...range(pairs).map((pair) =>
          sequence(
            ...weights.map((w, v) => set(w, pairOf(format, loaded[v], pair))),
            ...sums.map((line, r) =>
              sequence(
                set(value, v128.load32Splat(get(row[r]), (s * pairs + pair) * 4)),
                ...line.map((sum, v) =>
                  set(sum, i32x4.add(get(sum), i32x4.dotI16x8S(get(weights[v]), get(value))))
                ),
              )
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
        ...range(steps(format)).map(step),
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
  }, false);
}
