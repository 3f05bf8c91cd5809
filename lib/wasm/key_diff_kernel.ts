/** The loop of kv_key_diff over one KV head's pages. Lanes are slots. */
import {
  type Code,
  doWhile,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalSum,
  i32,
  i32x4,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
} from "./emit.ts";
import { advance, copyNumbers, integers, pageAt, widened } from "./head_kernels.ts";
import { HALF_SCALE, widenHalves } from "./half.ts";
import type { Kernel, Machine } from "./machine.ts";
import { halfBytes, pageKey, type PageShape } from "./page.ts";

/** Lengths of keys and of their mean direction are at least this. */
const LENGTH_MIN = 1e-12;

/** Bytes of a page's keys in f32, which are read twice. */
function copyBytes({ headDim, slots }: PageShape): number {
  return headDim * slots * 4;
}

/** A page's keys, behind them a vector a channel, and behind these a number a slot. */
export function keyDiffWorkBytes(page: PageShape, pages: number): number {
  return copyBytes(page) + page.headDim * 16 + pages * page.slots * 4;
}

/**
 * keyDiff(table, pages, head, pageBytes, slots, work, scores): scores[slot] = −cos(key, mean direction) of `slots` slots. `head` is
 * the address of the head in page 0, `work` room for keyDiffWorkBytes.
 */
export function keyDiffKernel(machine: Machine, page: PageShape): Kernel {
  return machine.kernels(`key diff ${pageKey(page)}`, () => {
    const module = new ModuleBuilder();
    module.add("keyDiff", integers(7), (f, table, pages, head, pageBytes, slots, work, scores) => {
      const sums = f.i32(), inverse = f.i32(), walk = { table, pages, head, pageBytes };
      return sequence(
        set(sums, i32.add(get(work), i32.const(copyBytes(page)))),
        set(inverse, i32.add(get(sums), i32.const(page.headDim * 16))),
        directions(f, page, { ...walk, slots, work, inverse, sums }),
        turnAround(f, page, sums),
        cosines(f, page, { ...walk, inverse, sums }),
        copyNumbers(f, inverse, slots, scores),
      );
    });
    return module;
  }).keyDiff;
}

type Walk = Readonly<Record<"table" | "pages" | "head" | "pageBytes", Local>>;

/** Sums the directions of all keys, four lanes a channel, and keeps 1 / length. Lanes behind the last slot are zeros. */
function directions(
  f: FunctionBuilder,
  page: PageShape,
  o: Walk & Readonly<Record<"slots" | "work" | "inverse" | "sums", Local>>,
): Code {
  const left = f.i32(),
    table = f.i32(),
    todo = f.i32(),
    key = f.i32(),
    copy = f.i32(),
    lengths = f.i32(),
    at = f.i32();
  const channel = f.i32(), x = f.v128(), vectors = range(page.slots / 4);
  const squares = f.vectors(vectors.length), stored = f.vectors(vectors.length);
  const channels = (...body: Code[]) =>
    sequence(
      set(channel, i32.const(page.headDim)),
      doWhile(get(channel), ...body, advance(copy, page.slots * 4), advance(channel, -1)),
    );
  return sequence(
    set(at, get(o.sums)),
    set(channel, i32.const(page.headDim)),
    doWhile(get(channel), v128.store(get(at), v128.constF32(0)), advance(at, 16), advance(channel, -1)),
    set(left, get(o.slots)),
    set(table, get(o.table)),
    set(todo, get(o.pages)),
    set(lengths, get(o.inverse)),
    doWhile(
      get(todo),
      set(key, pageAt(o.head, table, o.pageBytes)),
      ...vectors.map((v) =>
        sequence(
          set(squares[v], v128.constF32(0)),
          set(
            stored[v],
            i32x4.ltS(f.lanesI32(range(4).map((lane) => 4 * v + lane)), i32x4.splat(get(left))),
          ),
        )
      ),
      set(copy, get(o.work)),
      channels(
        ...vectors.map((v) =>
          sequence(
            set(x, v128.and(widened(f, page, get(key), v * 4), get(stored[v]))),
            v128.store(get(copy), get(x), v * 16),
            set(squares[v], f32x4.fma(get(x), get(x), get(squares[v]))),
          )
        ),
        advance(key, halfBytes(page) / page.headDim),
      ),
      ...vectors.map((v) =>
        sequence(
          set(
            squares[v],
            f32x4.div(f.splatF32(1), f32x4.pmax(f32x4.sqrt(get(squares[v])), f.splatF32(LENGTH_MIN))),
          ),
          v128.store(get(lengths), get(squares[v]), v * 16),
        )
      ),
      set(at, get(o.sums)),
      set(copy, get(o.work)),
      channels(
        set(x, v128.load(get(at))),
        ...vectors.map((v) => set(x, f32x4.fma(v128.load(get(copy), v * 16), get(squares[v]), get(x)))),
        v128.store(get(at), get(x)),
        advance(at, 16),
      ),
      advance(table, 4),
      advance(lengths, page.slots * 4),
      set(left, i32.sub(get(left), i32.const(page.slots))),
      advance(todo, -1),
    ),
  );
}

/** Minus the mean direction, of length 1, each channel in all of its lanes; scaled as keys of f16 need it (half.ts). */
function turnAround(f: FunctionBuilder, { headDim, dtype }: PageShape, sums: Local): Code {
  const at = f.i32(), channel = f.i32(), x = f.v128(), length = f.v128();
  const channels = (...body: Code[]) =>
    sequence(
      set(at, get(sums)),
      set(channel, i32.const(headDim)),
      doWhile(get(channel), ...body, v128.store(get(at), get(x)), advance(at, 16), advance(channel, -1)),
    );
  return sequence(
    set(length, v128.constF32(0)),
    channels(
      set(x, v128.load(get(at))),
      set(x, f32x4.splat(horizontalSum(x))),
      set(length, f32x4.fma(get(x), get(x), get(length))),
    ),
    set(length, f32x4.pmax(f32x4.sqrt(get(length)), f.splatF32(LENGTH_MIN))),
    set(length, f32x4.div(f.splatF32(dtype === "f16" ? -HALF_SCALE : -1), get(length))),
    channels(set(x, f32x4.mul(v128.load(get(at)), get(length)))),
  );
}

/** Scores in the place of the inverse lengths. */
function cosines(
  f: FunctionBuilder,
  page: PageShape,
  o: Walk & Readonly<Record<"inverse" | "sums", Local>>,
): Code {
  const at = f.i32(), channel = f.i32(), key = f.i32(), to = f.i32(), sum = f.v128();
  const dots = f.vectors(page.slots / 4);
  const stored = (v: number) =>
    page.dtype === "f16" ? widenHalves(f, get(key), v * 8) : v128.load(get(key), v * 16);
  return sequence(
    set(to, get(o.inverse)),
    doWhile(
      get(o.pages),
      set(key, pageAt(o.head, o.table, o.pageBytes)),
      set(at, get(o.sums)),
      ...dots.map((dot) => set(dot, v128.constF32(0))),
      set(channel, i32.const(page.headDim)),
      doWhile(
        get(channel),
        set(sum, v128.load(get(at))),
        ...dots.map((dot, v) => set(dot, f32x4.fma(get(sum), stored(v), get(dot)))),
        advance(at, 16),
        advance(key, halfBytes(page) / page.headDim),
        advance(channel, -1),
      ),
      ...dots.map((dot, v) => v128.store(get(to), f32x4.mul(get(dot), v128.load(get(to), v * 16)), v * 16)),
      advance(to, page.slots * 4),
      advance(o.table, 4),
      advance(o.pages, -1),
    ),
  );
}
