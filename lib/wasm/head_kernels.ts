/**
 * Loops over the pages of one KV head, a page at a time: sums over channels, whose lanes are slots, and copies. Each
 * function reads `pages` whole pages; what lies behind the last stored slot is computed too, and left unread.
 */
import {
  type Code,
  doWhile,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
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
import { addGather, gatherStageBytes } from "./gather_kernel.ts";
import { HALF_SCALE, widenHalves } from "./half.ts";
import type { Kernels, Machine } from "./machine.ts";
import { assert } from "../core/assert.ts";
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";
import { halfBytes, pageKey, type PageShape } from "./page.ts";

/** The functions, by name; addresses in bytes, `head` that of the head in page 0, tables of page numbers. */
export function headKernels(machine: Machine, page: PageShape): Kernels {
  return machine.kernels(`heads ${pageKey(page)}`, () => {
    assert(gatherStageBytes(page) <= machine.scratchBytes, "a page's slots fit a thread's scratch");
    const module = new ModuleBuilder();
    addGather(module, page);
    addNorms(module, page);
    addDots(module, page);
    addLengths(module, page);
    addUnpack(module, page);
    addWiden(module, page);
    return module;
  });
}

export function integers(count: number): ValueType[] {
  return range(count).map(() => I32);
}

/** Four stored elements as f32. */
export function widened(f: FunctionBuilder, page: PageShape, at: Code, element: number): Code {
  const offset = element * KV_ELEMENT_BYTES[page.dtype];
  return page.dtype === "f32"
    ? v128.load(at, offset)
    : f32x4.mul(widenHalves(f, at, offset), f.splatF32(HALF_SCALE));
}

/** Address of a page's head: head + table[0] · pageBytes. */
export function pageAt(head: Local, table: Local, pageBytes: Local): Code {
  return i32.add(get(head), i32.mul(i32.load(get(table)), get(pageBytes)));
}

export function advance(local: Local, bytes: number): Code {
  return set(local, i32.add(get(local), i32.const(bytes)));
}

function countDown(local: Local): Code {
  return set(local, i32.sub(get(local), i32.const(1)));
}

/** Page after page, `term(v, key)` of every vector v of slots and every channel, whose keys are at `key`; then `end(v)`. */
function overChannels(
  f: FunctionBuilder,
  page: PageShape,
  table: Local,
  pages: Local,
  head: Local,
  pageBytes: Local,
  parts: {
    readonly begin: Code;
    readonly channel: (value: (v: number) => Code) => Code;
    readonly end: Code;
  },
): Code {
  const key = f.i32(), channel = f.i32(), rowBytes = page.slots * KV_ELEMENT_BYTES[page.dtype];
  return doWhile(
    get(pages),
    set(key, pageAt(head, table, pageBytes)),
    parts.begin,
    set(channel, i32.const(page.headDim)),
    doWhile(
      get(channel),
      parts.channel((v) => widened(f, page, get(key), v * 4)),
      advance(key, rowBytes),
      countDown(channel),
    ),
    parts.end,
    advance(table, 4),
    countDown(pages),
  );
}

/** norms(table, pages, head, pageBytes, slots, work, out): out[slot] = −‖key‖₂ of `slots` slots; `work` has room for all pages'. */
function addNorms(module: ModuleBuilder, page: PageShape): void {
  module.add("norms", integers(7), (f, table, pages, head, pageBytes, slots, work, out) => {
    const sums = f.vectors(page.slots / 4), x = f.v128(), to = f.i32();
    return sequence(
      set(to, get(work)),
      overChannels(f, page, table, pages, head, pageBytes, {
        begin: sequence(...sums.map((sum) => set(sum, v128.constF32(0)))),
        channel: (value) =>
          sequence(
            ...sums.map((sum, v) =>
              sequence(set(x, value(v)), set(sum, f32x4.fma(get(x), get(x), get(sum))))
            ),
          ),
        end: sequence(
          ...sums.map((sum, v) => v128.store(get(to), f32x4.neg(f32x4.sqrt(get(sum))), v * 16)),
          advance(to, page.slots * 4),
        ),
      }),
      copyNumbers(f, work, slots, out),
    );
  });
}

/** Copies `count` numbers, and nothing behind them. */
export function copyNumbers(f: FunctionBuilder, from: Local, count: Local, to: Local): Code {
  const end = f.i32(), whole = f.i32();
  return sequence(
    set(end, i32.add(get(to), i32.shl(get(count), i32.const(2)))),
    set(whole, i32.add(get(to), i32.shl(i32.and(get(count), i32.const(-4)), i32.const(2)))),
    whileLoop(
      i32.ltU(get(to), get(whole)),
      v128.store(get(to), v128.load(get(from))),
      advance(from, 16),
      advance(to, 16),
    ),
    whileLoop(
      i32.ltU(get(to), get(end)),
      f32.store(get(to), f32.load(get(from))),
      advance(from, 4),
      advance(to, 4),
    ),
  );
}

/** dots(table, pages, head, pageBytes, out, query): out[slot] = Σ query · key, query [headDim] f32. */
function addDots(module: ModuleBuilder, page: PageShape): void {
  module.add("dots", integers(6), (f, table, pages, head, pageBytes, out, query) => {
    const sums = f.vectors(page.slots / 4), factor = f.v128(), q = f.i32();
    return overChannels(f, page, table, pages, head, pageBytes, {
      begin: sequence(set(q, get(query)), ...sums.map((sum) => set(sum, v128.constF32(0)))),
      channel: (value) =>
        sequence(
          set(factor, v128.load32Splat(get(q))),
          ...sums.map((sum, v) => set(sum, f32x4.fma(get(factor), value(v), get(sum)))),
          advance(q, 4),
        ),
      end: sequence(
        ...sums.map((sum, v) => v128.store(get(out), get(sum), v * 16)),
        advance(out, page.slots * 4),
      ),
    });
  });
}

/** lengths(table, pages, head, pageBytes, out): out[slot] = ‖value‖₂. */
function addLengths(module: ModuleBuilder, page: PageShape): void {
  const { headDim, slots, dtype } = page;
  module.add("lengths", integers(5), (f, table, pages, head, pageBytes, out) => {
    const at = f.i32(), left = f.i32(), sum = f.v128(), x = f.v128();
    return doWhile(
      get(pages),
      set(at, i32.add(pageAt(head, table, pageBytes), i32.const(halfBytes(page)))),
      set(left, i32.const(slots)),
      doWhile(
        get(left),
        set(sum, v128.constF32(0)),
        ...range(headDim / 4).map((v) =>
          sequence(
            set(x, widened(f, page, get(at), v * 4)),
            set(sum, f32x4.fma(get(x), get(x), get(sum))),
          )
        ),
        f32.store(get(out), f32.sqrt(horizontalSum(sum))),
        advance(out, 4),
        advance(at, headDim * KV_ELEMENT_BYTES[dtype]),
        countDown(left),
      ),
      advance(table, 4),
      countDown(pages),
    );
  });
}

/** widen(table, pages, head, pageBytes, keys): the keys in f32, page after page, laid out as they are. */
function addWiden(module: ModuleBuilder, page: PageShape): void {
  module.add(
    "widen",
    integers(5),
    (f, table, pages, head, pageBytes, keys) =>
      overChannels(f, page, table, pages, head, pageBytes, {
        begin: sequence(),
        channel: (value) =>
          sequence(
            ...range(page.slots / 4).map((v) => v128.store(get(keys), value(v), v * 16)),
            advance(keys, page.slots * 4),
          ),
        end: sequence(),
      }),
  );
}

/** unpack(table, pages, head, pageBytes, keys, values): f32 rows [slot][headDim] of both. */
function addUnpack(module: ModuleBuilder, page: PageShape): void {
  const { headDim, slots } = page, rowBytes = headDim * 4;
  module.add("unpack", integers(6), (f, table, pages, head, pageBytes, keys, values) => {
    const to = f.i32(), x = f.v128(), at = f.i32(), left = f.i32();
    return overChannels(f, page, table, pages, head, pageBytes, {
      begin: set(to, get(keys)),
      channel: (value) =>
        sequence(
          ...range(slots / 4).map((v) =>
            sequence(
              set(x, value(v)),
              ...range(4).map((lane) =>
                f32.store(get(to), f32x4.extract(get(x), lane), (4 * v + lane) * rowBytes)
              ),
            )
          ),
          advance(to, 4),
        ),
      end: sequence(
        set(at, i32.add(pageAt(head, table, pageBytes), i32.const(halfBytes(page)))),
        set(left, i32.const(slots)),
        doWhile(
          get(left),
          ...range(headDim / 4).map((v) => v128.store(get(values), widened(f, page, get(at), v * 4), v * 16)),
          advance(at, headDim * KV_ELEMENT_BYTES[page.dtype]),
          advance(values, rowBytes),
          countDown(left),
        ),
        advance(keys, slots * rowBytes),
      ),
    });
  });
}
