/**
 * rope_write_kv: rotates query and key heads in place, pair (i, i + headDim/2), and stores keys and values in their slot.
 * Threads take whole tokens.
 */
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";
import {
  type Code,
  doWhile,
  f32,
  f32x4,
  get,
  i16x8,
  I32,
  i32,
  i32x4,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
} from "./emit.ts";
import { narrowToHalves } from "./half.ts";
import type { Kernels, Machine } from "./machine.ts";
import { readMap } from "./map.ts";
import { halfBytes, headBytes, pageKey, PAGES_WORDS, type PageShape, readPages } from "./page.ts";

export const RopeWord = { qkv: 0, rotary: 1, heads: 2, pages: 3, map: 3 + PAGES_WORDS } as const;

/** rotate(x, angles, heads): `heads` adjacent heads of one token; angles are [cos (half), sin (half)]. */
function addRotate(module: ModuleBuilder, headDim: number): void {
  const half = headDim / 2, whole = Math.floor(half / 4), bytes = half * 4;
  module.add("rotate", [I32, I32, I32], (f, x, angles, heads) => {
    const a = f.v128(), b = f.v128(), c = f.f32(), d = f.f32();
    const vectors = range(whole).map((v) => {
      const cos = v128.load(get(angles), v * 16), sin = v128.load(get(angles), bytes + v * 16);
      return sequence(
        set(a, v128.load(get(x), v * 16)),
        set(b, v128.load(get(x), bytes + v * 16)),
        v128.store(get(x), f32x4.fnma(get(b), sin, f32x4.mul(get(a), cos)), v * 16),
        v128.store(get(x), f32x4.fma(get(a), sin, f32x4.mul(get(b), cos)), bytes + v * 16),
      );
    });
    const rest = range(half - whole * 4).map((i) => {
      const at = (whole * 4 + i) * 4;
      const cos = f32.load(get(angles), at), sin = f32.load(get(angles), bytes + at);
      return sequence(
        set(c, f32.load(get(x), at)),
        set(d, f32.load(get(x), bytes + at)),
        f32.store(get(x), f32.sub(f32.mul(get(c), cos), f32.mul(get(d), sin)), at),
        f32.store(get(x), f32.add(f32.mul(get(d), cos), f32.mul(get(c), sin)), bytes + at),
      );
    });
    return doWhile(
      get(heads),
      ...vectors,
      ...rest,
      set(x, i32.add(get(x), i32.const(headDim * 4))),
      set(heads, i32.sub(get(heads), i32.const(1))),
    );
  });
}

/** store(k, v, page, slot, heads): one token's keys and values of all heads into one page. Returns the function's index. */
export function addStore(module: ModuleBuilder, page: PageShape): number {
  const { headDim, slots, dtype } = page;
  const size = KV_ELEMENT_BYTES[dtype];
  return module.add("store", [I32, I32, I32, I32, I32], (f, k, v, at, slot, heads) => {
    const key = f.i32(), value = f.i32(), x = f.v128(), temporaries = f.vectors(3);
    const perVector = range(headDim / 4).map((vector): Code => {
      const from = vector * 16, row = vector * 4 * slots * size, to = vector * 4 * size;
      if (dtype === "f32") {
        return sequence(
          set(x, v128.load(get(k), from)),
          ...range(4).map((lane) =>
            f32.store(get(key), f32x4.extract(get(x), lane), row + lane * slots * size)
          ),
          v128.store(get(value), v128.load(get(v), from), to),
        );
      }
      return sequence(
        set(x, v128.load(get(k), from)),
        set(x, narrowToHalves(f, x, temporaries)),
        ...range(4).map((lane) =>
          i32.store16(get(key), i32x4.extract(get(x), lane), row + lane * slots * size)
        ),
        set(x, v128.load(get(v), from)),
        set(x, narrowToHalves(f, x, temporaries)),
        v128.store64(get(value), i16x8.narrowI32x4U(get(x), get(x)), to),
      );
    });
    return sequence(
      set(key, i32.add(get(at), i32.mul(get(slot), i32.const(size)))),
      set(
        value,
        i32.add(get(at), i32.add(i32.const(halfBytes(page)), i32.mul(get(slot), i32.const(headDim * size)))),
      ),
      doWhile(
        get(heads),
        ...perVector,
        ...[k, v].map((p) => set(p, i32.add(get(p), i32.const(headDim * 4)))),
        ...[key, value].map((p) => set(p, i32.add(get(p), i32.const(headBytes(page))))),
        set(heads, i32.sub(get(heads), i32.const(1))),
      ),
    );
  });
}

function buildRope(page: PageShape): ModuleBuilder {
  const module = new ModuleBuilder();
  addRotate(module, page.headDim);
  addStore(module, page);
  return module;
}

/** rotate and store. */
export function storeKernels(machine: Machine, page: PageShape): Kernels {
  return machine.kernels(`rope ${pageKey(page)}`, () => buildRope(page));
}

export function runRopeWriteKv(machine: Machine, words: Uint32Array): void {
  const map = readMap(machine, words, RopeWord.map);
  const { address, pageBytes, kvHeads, page } = readPages(words, RopeWord.pages);
  const { rotate, store } = storeKernels(machine, page);
  const heads = words[RopeWord.heads];
  const headRow = page.headDim * 4, row = (heads + 2 * kvHeads) * headRow;
  const [first, last] = machine.share(map.tokens);
  for (let t = first; t < last; t++) {
    const x = words[RopeWord.qkv] + t * row;
    rotate(x, words[RopeWord.rotary] + t * headRow, heads + kvHeads);
    const slot = map.slotOf(t);
    const at = address + map.pageOf(t, slot, page.slots) * pageBytes;
    store(x + heads * headRow, x + (heads + kvHeads) * headRow, at, slot % page.slots, kvHeads);
  }
}
