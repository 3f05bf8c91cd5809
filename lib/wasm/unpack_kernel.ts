/**
 * One packed group of one KV head into the pages of its 32 slots. Codes lie as pages do, channel after channel for keys and
 * slot after slot for values, so four neighbouring codes become four neighbouring elements.
 */
import {
  KV_ELEMENT_BYTES,
  type KvBits,
  PACK_CHANNELS,
  PACK_SLOTS,
  PAIR_WORDS,
  valueParts,
} from "../ops/kv.ts";
import {
  type Code,
  doWhile,
  f32x4,
  type FunctionBuilder,
  get,
  i16x8,
  I32,
  i32,
  i32x4,
  type Local,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
} from "./emit.ts";
import { HALF_SCALE, narrowToHalves, widenHalves } from "./half.ts";
import type { Kernel, Machine } from "./machine.ts";
import { pageKey, type PageShape } from "./page.ts";

/** unpack(packed, table, head, pageBytes): `packed` is where the group's words lie side by side, `table` its pages' numbers. */
export function unpackKernel(machine: Machine, page: PageShape, bits: KvBits): Kernel {
  return machine.kernels(`unpack ${bits} ${pageKey(page)}`, () => build(page, bits)).unpack;
}

/** Codes 4v … 4v + 3 from an address on, as f32. */
function codes(f: FunctionBuilder, bits: KvBits, at: Code, v: number): Code {
  if (bits === 8) {
    const eight = v128.load8x8U(at, Math.floor(v / 2) * 8);
    return f32x4.convertI32x4S(v % 2 === 0 ? i32x4.extendLowI16x8U(eight) : i32x4.extendHighI16x8U(eight));
  }
  // A word's four lower codes, or the upper ones: each lane masks its own, and its power of 16 is divided away.
  const word = i32x4.shrU(v128.load32Splat(at, Math.floor(v / 2) * 4), i32.const(v % 2 * 16));
  return f32x4.mul(
    f32x4.convertI32x4S(v128.and(word, f.lanesI32([0xf, 0xf0, 0xf00, 0xf000]))),
    f.lanesF32([1, 1 / 16, 1 / 256, 1 / 4096]),
  );
}

function build(page: PageShape, bits: KvBits): ModuleBuilder {
  const module = new ModuleBuilder();
  const { headDim, slots, dtype } = page, size = KV_ELEMENT_BYTES[dtype], pairBytes = 4 * PAIR_WORDS[dtype];
  const codeBytes = PACK_SLOTS * headDim * bits / 8, parts = valueParts(headDim);
  const valueCodes = codeBytes + headDim * pairBytes, valuePairs = valueCodes + codeBytes;
  module.add("unpack", [I32, I32, I32, I32], (f, packed, table, head, pageBytes) => {
    const pages = f.pointers(PACK_SLOTS / slots), at = f.i32(), pairs = f.i32(), count = f.i32();
    const pair = f.v128(), scale = f.v128(), least = f.v128(), x = f.v128(), temporaries = f.vectors(3);
    const loadPair = (offset: number) =>
      sequence(
        set(
          pair,
          dtype === "f32"
            ? v128.load(get(pairs), offset)
            : f32x4.mul(widenHalves(f, get(pairs), offset), f.splatF32(HALF_SCALE)),
        ),
        set(scale, f32x4.splat(f32x4.extract(get(pair), 0))),
        set(least, f32x4.splat(f32x4.extract(get(pair), 1))),
      );
    const put = (v: number, to: Local, element: number) => {
      const value = set(x, f32x4.add(f32x4.mul(codes(f, bits, get(at), v), get(scale)), get(least)));
      if (dtype === "f32") return sequence(value, v128.store(get(to), get(x), element * size));
      return sequence(
        value,
        set(x, narrowToHalves(f, x, temporaries)),
        v128.store64(get(to), i16x8.narrowI32x4U(get(x), get(x)), element * size),
      );
    };
    const advance = (local: Local, bytes: number) => set(local, i32.add(get(local), i32.const(bytes)));
    const countDown = set(count, i32.sub(get(count), i32.const(1)));
    const begin = (codesAt: number, pairsAt: number, rounds: number) =>
      sequence(
        set(at, i32.add(get(packed), i32.const(codesAt))),
        set(pairs, i32.add(get(packed), i32.const(pairsAt))),
        set(count, i32.const(rounds)),
      );
    const keys = doWhile(
      get(count),
      loadPair(0),
      ...range(PACK_SLOTS / 4).map((v) => put(v, pages[Math.floor(4 * v / slots)], 4 * v % slots)),
      ...pages.map((to) => advance(to, slots * size)),
      advance(at, PACK_SLOTS * bits / 8),
      advance(pairs, pairBytes),
      countDown,
    );
    // Behind its keys a page has its values, so the pages' pointers stand where values begin.
    const values = (to: Local) =>
      sequence(
        set(count, i32.const(slots)),
        doWhile(
          get(count),
          ...range(headDim / 4).map((v) =>
            sequence(
              4 * v % PACK_CHANNELS === 0 ? loadPair(4 * v / PACK_CHANNELS * pairBytes) : [],
              put(v, to, 4 * v),
            )
          ),
          advance(to, headDim * size),
          advance(at, headDim * bits / 8),
          advance(pairs, parts * pairBytes),
          countDown,
        ),
      );
    return sequence(
      ...pages.map((to, p) =>
        set(to, i32.add(get(head), i32.mul(i32.load(get(table), 4 * p), get(pageBytes))))
      ),
      begin(0, codeBytes, headDim),
      keys,
      begin(valueCodes, valuePairs, slots),
      ...pages.map(values),
    );
  });
  return module;
}
