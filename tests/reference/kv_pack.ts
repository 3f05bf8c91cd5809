import { PACK_CHANNELS, PACK_SLOTS } from "../../lib/ops/kv.ts";
import { PackedPages, type Pair } from "./kv_packing.ts";
import { listJobs, pool } from "./kv_pages.ts";
import type { Operands } from "./tensor.ts";

/** Scale and least of values in f32 steps, rounded as they are stored. */
function pairOf(values: readonly number[], bits: number, half: boolean): Pair {
  const stored = half ? Math.f16round : Math.fround;
  const least = Math.min(...values), range = Math.fround(Math.max(...values) - least);
  return { scale: stored(Math.fround(range / (2 ** bits - 1))) || 1, least: stored(least) };
}

/** Halves go to the even neighbour: adding 2^52 leaves no room for a fraction. */
function codeOf(value: number, { scale, least }: Pair, bits: number): number {
  const exact = Math.fround(Math.fround(value - least) / scale);
  return Math.max(0, Math.min(2 ** bits - 1, exact + 2 ** 52 - 2 ** 52));
}

/** Codes of whole groups of kept slots; the tail is rounded in place if asked. */
export function kvPack(o: Operands<"kvPack">): void {
  const pages = pool(o.pages), { kvHeads, headDim, dtype } = pages.shape, { bits } = o;
  for (const { kept, target, keep, keepBase } of listJobs(o.jobs)) {
    const packed = new PackedPages(pages, keep, keepBase, bits);
    for (let first = 0; first < kept; first += PACK_SLOTS) {
      const slots = Array.from({ length: Math.min(PACK_SLOTS, kept - first) }, (_, i) => first + i);
      const whole = slots.length === PACK_SLOTS;
      if (!whole && !o.tail) continue;
      for (let head = 0; head < kvHeads; head++) {
        const rows = (part: "key" | "value") =>
          slots.map((slot) => Float64Array.from(pages.read(target, slot, part, head)));
        const keys = rows("key"), values = rows("value");
        const put = (part: "key" | "value", i: number, d: number, pair: Pair) => {
          const row = part === "key" ? keys[i] : values[i], code = codeOf(row[d], pair, bits);
          if (whole) packed.setCode(part, slots[i], head, d, code);
          else row[d] = Math.fround(Math.fround(code * pair.scale) + pair.least);
        };
        for (let d = 0; d < headDim; d++) {
          const pair = pairOf(keys.map((row) => row[d]), bits, dtype === "f16");
          if (whole) packed.setPair("key", first, head, d, pair);
          for (const i of slots.keys()) put("key", i, d, pair);
        }
        for (const [i, slot] of slots.entries()) {
          for (let part = 0; part < headDim; part += PACK_CHANNELS) {
            const end = Math.min(part + PACK_CHANNELS, headDim);
            const pair = pairOf([...values[i].subarray(part, end)], bits, dtype === "f16");
            if (whole) packed.setPair("value", slot, head, part, pair);
            for (let d = part; d < end; d++) put("value", i, d, pair);
          }
        }
        if (whole) continue;
        for (const [i, slot] of slots.entries()) {
          pages.write(target, slot, "key", head, keys[i]);
          pages.write(target, slot, "value", head, values[i]);
        }
      }
    }
  }
}
