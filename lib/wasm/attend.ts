/**
 * The attention of up to 6 query rows over one KV head's pages, in two passes: all scores to scratch, softmax, values.
 * Scores: one multiply-add chain over headDim a slot. Values: one chain over slots, ascending, a channel. Slots behind
 * the last visible one contribute exact zeros and are never multiplied. So a row's bits depend neither on the number of
 * rows beside it nor on how its cache was written.
 */
import {
  type Code,
  doWhile,
  F32,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalMax,
  horizontalSum,
  I32,
  i32,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  type ValueType,
  whileLoop,
} from "./emit.ts";
import { exp } from "./exp.ts";
import { HALF_SCALE, widenHalves } from "./half.ts";
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";
import { halfBytes, type PageShape } from "./page.ts";

export const ATTEND_ROWS = 6;

/** Stands for minus infinity: its exp is replaced by zero anyway. */
const MASKED = -1e30;

/** Everything that the parts of one attend function share. */
interface Frame {
  readonly f: FunctionBuilder;
  readonly page: PageShape;
  readonly rows: number;
  readonly q: Local;
  readonly qStride: Local;
  readonly out: Local;
  readonly outStride: Local;
  readonly table: Local;
  readonly head: Local;
  readonly pageBytes: Local;
  readonly length: Local;
  readonly increment: Local;
  readonly scratch: Local;
  readonly scale: Local;
  /** Bytes of one row of scores: whole pages. */
  readonly scoreRow: Local;
  /** Slots that the last row sees. */
  readonly longest: Local;
  readonly sums: readonly Local[];
  readonly inverse: readonly Local[];
}

/**
 * {rows}x0(q, bytes between its rows, out, bytes between its rows, page table, head's address in page 0, page bytes,
 * slots that row 0 sees, slots that each further row sees more, scratch, scale). Queries of f16 caches are scaled by 2^112.
 */
export function buildAttend(page: PageShape): ModuleBuilder {
  return buildRows(page, values);
}

/**
 * As {@link buildAttend}, with the values left out: the rows' weights are added, row after row, to f32 sums at `out`, one a
 * slot of every page that the last row sees a part of.
 */
export function buildWeights(page: PageShape): ModuleBuilder {
  return buildRows(page, sumWeights);
}

function buildRows(page: PageShape, finish: (frame: Frame) => Code): ModuleBuilder {
  const module = new ModuleBuilder();
  const types: ValueType[] = [...Array.from({ length: 10 }, () => I32), F32];
  for (const rows of range(ATTEND_ROWS).map((r) => r + 1)) {
    module.add(`${rows}x0`, types, (f, ...parameters) => {
      const [q, qStride, out, outStride, table, head, pageBytes, length, increment, scratch, scale] =
        parameters;
      const frame: Frame = {
        f,
        page,
        rows,
        ...{ q, qStride, out, outStride, table, head, pageBytes, length, increment, scratch, scale },
        scoreRow: f.i32(),
        longest: f.i32(),
        sums: f.vectors(12),
        inverse: range(rows).map(() => f.f32()),
      };
      const { longest, scoreRow } = frame;
      const rowBytes = i32.mul(
        i32.divU(i32.add(get(longest), i32.const(page.slots - 1)), i32.const(page.slots)),
        i32.const(page.slots * 4),
      );
      return sequence(
        set(longest, i32.add(get(length), i32.mul(get(increment), i32.const(rows - 1)))),
        set(scoreRow, rowBytes),
        scores(frame),
        ...range(rows).map((row) => softmax(frame, row)),
        finish(frame),
      );
    });
  }
  return module;
}

/** Points at row 0, row 1, … */
function rowPointers(first: Local, stride: Local, pointers: readonly Local[]): Code {
  return sequence(
    ...pointers.map((p, i) => set(p, i === 0 ? get(first) : i32.add(get(pointers[i - 1]), get(stride)))),
  );
}

function widen(frame: Frame, at: Code, element: number): Code {
  const offset = element * KV_ELEMENT_BYTES[frame.page.dtype];
  return frame.page.dtype === "f32" ? v128.load(at, offset) : widenHalves(frame.f, at, offset);
}

function splat(frame: Frame, at: Code, offset: number): Code {
  const value = v128.load32Splat(at, offset);
  return frame.page.dtype === "f32" ? value : f32x4.mul(value, frame.f.splatF32(HALF_SCALE));
}

/** Page after page: rows × vectors of slots, over all channels. */
function scores(frame: Frame): Code {
  const { f, page, rows } = frame;
  const perPage = page.slots / 4;
  const together = Math.min(perPage, rows <= 2 ? 4 : 2);
  const at = f.i32(),
    entry = f.i32(),
    end = f.i32(),
    key = f.i32(),
    channel = f.i32(),
    to = f.i32(),
    value = f.v128();
  const queries = f.pointers(rows), keys = f.vectors(together);
  const elementBytes = KV_ELEMENT_BYTES[page.dtype];
  const pass = (first: number) => {
    const sum = (row: number, v: number) => frame.sums[row * together + v];
    const step = (c: number) =>
      sequence(
        ...keys.map((k, v) => set(k, widen(frame, get(key), c * page.slots + (first + v) * 4))),
        ...queries.map((query, row) =>
          sequence(
            set(value, splat(frame, get(query), c * 4)),
            ...keys.map((k, v) => set(sum(row, v), f32x4.fma(get(value), get(k), get(sum(row, v))))),
          )
        ),
      );
    return sequence(
      set(key, get(at)),
      rowPointers(frame.q, frame.qStride, queries),
      ...frame.sums.slice(0, rows * together).map((s) => set(s, v128.constF32(0))),
      set(channel, i32.const(page.headDim / 4)),
      doWhile(
        get(channel),
        ...range(4).map(step),
        set(key, i32.add(get(key), i32.const(4 * page.slots * elementBytes))),
        ...queries.map((query) => set(query, i32.add(get(query), i32.const(16)))),
        set(channel, i32.sub(get(channel), i32.const(1))),
      ),
      set(key, get(to)),
      ...range(rows).map((row) =>
        sequence(
          ...range(together).map((v) => v128.store(get(key), get(sum(row, v)), (first + v) * 16)),
          set(key, i32.add(get(key), get(frame.scoreRow))),
        )
      ),
    );
  };
  return sequence(
    set(to, get(frame.scratch)),
    set(entry, get(frame.table)),
    set(end, i32.add(get(to), get(frame.scoreRow))),
    doWhile(
      i32.ltU(get(to), get(end)),
      set(at, i32.add(get(frame.head), i32.mul(i32.load(get(entry)), get(frame.pageBytes)))),
      ...range(perPage / together).map((p) => pass(p * together)),
      set(to, i32.add(get(to), i32.const(page.slots * 4))),
      set(entry, i32.add(get(entry), i32.const(4))),
    ),
  );
}

/** exp(scale · (score − max)) in place, exact zeros at slots that the row does not see, and 1 / sum. */
function softmax(frame: Frame, row: number): Code {
  const { f } = frame;
  const begin = f.i32(), end = f.i32(), p = f.i32(), seen = f.i32();
  const max = f.v128(), sum = f.v128(), value = f.v128(), factor = f.v128(), temporaries = f.vectors(3);
  const fill = (x: number) =>
    sequence(
      set(p, get(seen)),
      whileLoop(
        i32.ltU(get(p), get(end)),
        f32.store(get(p), f32.const(x)),
        set(p, i32.add(get(p), i32.const(4))),
      ),
    );
  const overRow = (...body: Code[]) =>
    sequence(
      set(p, get(begin)),
      doWhile(i32.ltU(get(p), get(end)), ...body, set(p, i32.add(get(p), i32.const(16)))),
    );
  const visible = i32.add(get(frame.length), i32.mul(get(frame.increment), i32.const(row)));
  return sequence(
    set(begin, i32.add(get(frame.scratch), i32.mul(get(frame.scoreRow), i32.const(row)))),
    set(end, i32.add(get(begin), get(frame.scoreRow))),
    set(seen, i32.add(get(begin), i32.mul(visible, i32.const(4)))),
    set(factor, f32x4.splat(get(frame.scale))),
    fill(MASKED),
    set(max, v128.constF32(MASKED)),
    overRow(set(max, f32x4.pmax(get(max), v128.load(get(p))))),
    set(max, f32x4.splat(horizontalMax(max))),
    overRow(
      set(value, exp(f, f32x4.mul(f32x4.sub(v128.load(get(p)), get(max)), get(factor)), temporaries)),
      v128.store(get(p), get(value)),
    ),
    fill(0),
    set(sum, v128.constF32(0)),
    overRow(set(sum, f32x4.add(get(sum), v128.load(get(p))))),
    set(frame.inverse[row], f32.div(f32.const(1), horizontalSum(sum))),
  );
}

/** out[slot] += Σ_row weight[row, slot] / sum[row]. */
function sumWeights(frame: Frame): Code {
  const { f, rows } = frame;
  const to = f.i32(), end = f.i32(), sum = f.v128();
  const weights = f.pointers(rows), factors = f.vectors(rows);
  return sequence(
    ...factors.map((factor, row) => set(factor, f32x4.splat(get(frame.inverse[row])))),
    rowPointers(frame.scratch, frame.scoreRow, weights),
    set(to, get(frame.out)),
    set(end, i32.add(get(to), get(frame.scoreRow))),
    doWhile(
      i32.ltU(get(to), get(end)),
      set(sum, v128.load(get(to))),
      ...weights.map((w, row) => set(sum, f32x4.fma(v128.load(get(w)), get(factors[row]), get(sum)))),
      v128.store(get(to), get(sum)),
      ...[to, ...weights].map((p) => set(p, i32.add(get(p), i32.const(16)))),
    ),
  );
}

/** A few vectors of channels at a time, over all visible slots. */
function values(frame: Frame): Code {
  const { f, page, rows } = frame;
  const total = page.headDim / 4;
  const together = Math.min(total, rows === 1 ? 8 : rows === 2 ? 4 : 2);
  const value = f.i32(), entry = f.i32(), left = f.i32(), inPage = f.i32(), to = f.i32(), weight = f.v128();
  const weights = f.pointers(rows), cached = f.vectors(together);
  const elementBytes = KV_ELEMENT_BYTES[page.dtype];
  const pass = (first: number) => {
    const count = Math.min(together, total - first);
    const sum = (row: number, v: number) => frame.sums[row * count + v];
    const step = (slot: number) =>
      sequence(
        ...range(count).map((v) =>
          set(cached[v], widen(frame, get(value), slot * page.headDim + (first + v) * 4))
        ),
        ...weights.map((w, row) =>
          sequence(
            set(weight, splat(frame, get(w), slot * 4)),
            ...range(count).map((v) =>
              set(sum(row, v), f32x4.fma(get(weight), get(cached[v]), get(sum(row, v))))
            ),
          )
        ),
      );
    const slots = (number: number) =>
      whileLoop(
        i32.eqz(i32.ltU(get(inPage), i32.const(number))),
        ...range(number).map(step),
        set(value, i32.add(get(value), i32.const(number * page.headDim * elementBytes))),
        ...weights.map((w) => set(w, i32.add(get(w), i32.const(number * 4)))),
        set(inPage, i32.sub(get(inPage), i32.const(number))),
      );
    return sequence(
      ...frame.sums.slice(0, rows * count).map((s) => set(s, v128.constF32(0))),
      set(entry, get(frame.table)),
      set(left, get(frame.longest)),
      rowPointers(frame.scratch, frame.scoreRow, weights),
      doWhile(
        get(left),
        set(inPage, i32.select(i32.const(page.slots), get(left), i32.ltU(i32.const(page.slots), get(left)))),
        set(left, i32.sub(get(left), get(inPage))),
        set(
          value,
          i32.add(
            i32.add(get(frame.head), i32.mul(i32.load(get(entry)), get(frame.pageBytes))),
            i32.const(halfBytes(page)),
          ),
        ),
        slots(4),
        slots(1),
        set(entry, i32.add(get(entry), i32.const(4))),
      ),
      set(to, get(frame.out)),
      ...range(rows).map((row) =>
        sequence(
          ...range(count).map((v) =>
            v128.store(
              get(to),
              f32x4.mul(get(sum(row, v)), f32x4.splat(get(frame.inverse[row]))),
              (first + v) * 16,
            )
          ),
          set(to, i32.add(get(to), get(frame.outStride))),
        )
      ),
    );
  };
  return sequence(...range(Math.ceil(total / together)).map((p) => pass(p * together)));
}
