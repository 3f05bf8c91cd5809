/** What kv_fold reads and writes: consecutive slots of one head as f32 rows, and rows into consecutive slots. */
import {
  call,
  type Code,
  doWhile,
  either,
  get,
  i16x8,
  i32,
  i32x4,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  when,
} from "./emit.ts";
import { narrowToHalves } from "./half.ts";
import { advance, integers, widened } from "./head_kernels.ts";
import type { Kernels, Machine } from "./machine.ts";
import { halfBytes, headBytes, pageKey, type PageShape } from "./page.ts";
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";
import { addStore } from "./rope.ts";

/** Rows behind the last one that `rows` may write keys to: slots come in fours. */
export const ROWS_BEYOND = 3;

/** rows and stores; addresses in bytes, `head` that of the first head in page 0, `table` that of the page's number, `slot` inside that page. */
export function foldKernels(machine: Machine, page: PageShape): Kernels {
  return machine.kernels(`fold ${pageKey(page)}`, () => {
    const module = new ModuleBuilder();
    addRows(module, page);
    addStores(module, page);
    return module;
  });
}

/** Lane i of vector j to lane j of vector i. */
function transpose(x: readonly Local[], t: readonly Local[]): Code {
  const pair = (a: Local, b: Local, lanes: readonly number[]) => i32x4.shuffle(get(a), get(b), lanes);
  const low = [0, 4, 1, 5], high = [2, 6, 3, 7], left = [0, 1, 4, 5], right = [2, 3, 6, 7];
  return sequence(
    set(t[0], pair(x[0], x[1], low)),
    set(t[1], pair(x[0], x[1], high)),
    set(t[2], pair(x[2], x[3], low)),
    set(t[3], pair(x[2], x[3], high)),
    set(x[0], pair(t[0], t[2], left)),
    set(x[1], pair(t[0], t[2], right)),
    set(x[2], pair(t[1], t[3], left)),
    set(x[3], pair(t[1], t[3], right)),
  );
}

/** rows(table, slot, count, head, pageBytes, keys, values, heads): [heads][count][headDim] each; what is behind the keys is overwritten. */
function addRows(module: ModuleBuilder, page: PageShape): void {
  const { headDim, slots, dtype } = page, size = KV_ELEMENT_BYTES[dtype], rowBytes = headDim * 4;
  module.add("rows", integers(8), (f, firstTable, firstSlot, all, head, pageBytes, keys, values, heads) => {
    const table = f.i32(), slot = f.i32(), count = f.i32();
    const key = f.i32(), value = f.i32(), here = f.i32(), end = f.i32(), to = f.i32();
    const x = f.vectors(4), temporaries = f.vectors(4);
    const fourKeys = range(headDim / 4).map((quad) =>
      sequence(
        ...x.map((channel, c) => set(channel, widened(f, page, get(key), (4 * quad + c) * slots))),
        transpose(x, temporaries),
        ...x.map((row, s) => v128.store(get(to), get(row), s * rowBytes + quad * 16)),
      )
    );
    const oneValue = range(headDim / 4).map((quad) =>
      v128.store(get(values), widened(f, page, get(value), 4 * quad), quad * 16)
    );
    const oneHead = doWhile(
      get(count),
      set(here, i32.sub(i32.const(slots), get(slot))),
      set(here, i32.select(get(count), get(here), i32.ltU(get(count), get(here)))),
      set(key, i32.add(get(head), i32.mul(i32.load(get(table)), get(pageBytes)))),
      set(
        value,
        i32.add(i32.add(get(key), i32.const(halfBytes(page))), i32.mul(get(slot), i32.const(headDim * size))),
      ),
      set(key, i32.add(get(key), i32.mul(get(slot), i32.const(size)))),
      set(to, get(keys)),
      set(keys, i32.add(get(keys), i32.mul(get(here), i32.const(rowBytes)))),
      doWhile(
        i32.ltU(get(to), get(keys)),
        ...fourKeys,
        advance(to, 4 * rowBytes),
        advance(key, 4 * size),
      ),
      set(end, i32.add(get(values), i32.mul(get(here), i32.const(rowBytes)))),
      doWhile(
        i32.ltU(get(values), get(end)),
        ...oneValue,
        advance(values, rowBytes),
        advance(value, headDim * size),
      ),
      set(count, i32.sub(get(count), get(here))),
      set(slot, i32.const(0)),
      advance(table, 4),
    );
    return doWhile(
      get(heads),
      set(table, get(firstTable)),
      set(slot, get(firstSlot)),
      set(count, get(all)),
      oneHead,
      advance(head, headBytes(page)),
      advance(heads, -1),
    );
  });
}

/** stores(keys, bytes between them, values, bytes between them, table, slot, count, head, pageBytes, heads): as many rows a head. */
function addStores(module: ModuleBuilder, page: PageShape): void {
  const { headDim, slots, dtype } = page, size = KV_ELEMENT_BYTES[dtype], one = addStore(module, page);
  module.add(
    "stores",
    integers(10),
    (f, keys, keyBytes, values, valueBytes, firstTable, firstSlot, all, head, pageBytes, heads) => {
      const table = f.i32(), slot = f.i32(), count = f.i32();
      const base = f.i32(), to = f.i32(), taken = f.i32();
      const x = f.vectors(4), temporaries = f.vectors(4);
      const put = (value: Local, element: number) => {
        if (dtype === "f32") return v128.store(get(to), get(value), element * size);
        const halves = set(value, narrowToHalves(f, value, temporaries));
        return sequence(
          halves,
          v128.store64(get(to), i16x8.narrowI32x4U(get(value), get(value)), element * size),
        );
      };
      /** Sets x to quad `quad` of four rows. */
      const load = (first: Local, bytes: Local, quad: number) =>
        sequence(
          set(base, get(first)),
          ...x.map((row, r) =>
            sequence(
              r === 0 ? [] : set(base, i32.add(get(base), get(bytes))),
              set(row, v128.load(get(base), quad * 16)),
            )
          ),
        );
      const fourKeys = range(headDim / 4).map((quad) =>
        sequence(
          load(keys, keyBytes, quad),
          transpose(x, temporaries),
          ...x.map((channel, c) => put(channel, (4 * quad + c) * slots)),
        )
      );
      const fourValues = range(headDim / 4).map((quad) =>
        sequence(load(values, valueBytes, quad), ...x.map((row, r) => put(row, r * headDim + 4 * quad)))
      );
      const pageAt = i32.add(get(head), i32.mul(i32.load(get(table)), get(pageBytes)));
      // Four slots of one page take their keys' channels together.
      const four = sequence(
        set(to, i32.add(pageAt, i32.mul(get(slot), i32.const(size)))),
        ...fourKeys,
        set(
          to,
          i32.add(i32.add(pageAt, i32.const(halfBytes(page))), i32.mul(get(slot), i32.const(headDim * size))),
        ),
        ...fourValues,
        set(taken, i32.const(4)),
      );
      const fits = i32.and(i32.ltU(i32.const(3), get(count)), i32.ltU(get(slot), i32.const(slots - 3)));
      const oneHead = doWhile(
        get(count),
        either(
          fits,
          four,
          sequence(
            call(one, get(keys), get(values), pageAt, get(slot), i32.const(1)),
            set(taken, i32.const(1)),
          ),
        ),
        set(keys, i32.add(get(keys), i32.mul(get(taken), get(keyBytes)))),
        set(values, i32.add(get(values), i32.mul(get(taken), get(valueBytes)))),
        set(slot, i32.add(get(slot), get(taken))),
        when(i32.eq(get(slot), i32.const(slots)), set(slot, i32.const(0)), advance(table, 4)),
        set(count, i32.sub(get(count), get(taken))),
      );
      return doWhile(
        get(heads),
        set(table, get(firstTable)),
        set(slot, get(firstSlot)),
        set(count, get(all)),
        oneHead,
        advance(head, headBytes(page)),
        advance(heads, -1),
      );
    },
  );
}
