/** kv_pack and kv_unpack. Threads take whole groups of one head of one job. */
import { PACK_CHANNELS, PACK_SLOTS, packedGroupWords, PAIR_WORDS, valueParts } from "../ops/kv.ts";
import type { KvBits } from "../ops/kv.ts";
import { CompressWord } from "./compression.ts";
import { headKernels } from "./head_kernels.ts";
import { Job } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { headBytes, type PagesView, readPages } from "./page.ts";
import { storeKernels } from "./rope.ts";
import { unpackKernel } from "./unpack_kernel.ts";

export const PackWord = { bits: CompressWord.operand, tail: CompressWord.operand + 1 } as const;

/** Visits this thread's groups of a head: `slots` of them from `first` on, and the word where their codes begin. */
function eachGroup(
  machine: Machine,
  w: Uint32Array,
  visit: (job: Job, head: number, first: number, slots: number, word: number, view: PagesView) => void,
): void {
  const view = readPages(w, CompressWord.pages), base = w[CompressWord.jobs];
  const bits = w[PackWord.bits] as KvBits;
  const words = packedGroupWords({ headDim: view.page.headDim, dtype: view.page.dtype }, bits);
  let turn = 0;
  for (let index = 0; index < w[CompressWord.jobs + 1]; index++) {
    const job = new Job(machine, view, base, index);
    for (let first = 0; first < job.slots; first += PACK_SLOTS) {
      for (let head = 0; head < view.kvHeads; head++) {
        if (turn++ % machine.sharers !== machine.thread) continue;
        const group = first / PACK_SLOTS * view.kvHeads + head;
        visit(job, head, first, Math.min(PACK_SLOTS, job.slots - first), job.keepBase + group * words, view);
      }
    }
  }
}

/** Halves go to the even neighbour: adding 2^52 leaves no room for a fraction. */
function codeOf(value: number, scale: number, least: number, most: number): number {
  const exact = Math.fround(Math.fround(value - least) / scale);
  return Math.max(0, Math.min(most, exact + 0x10_0000_0000_0000 - 0x10_0000_0000_0000));
}

/** One set of values that share a pair: rows[at + i · stride], i < count; codes go to `codes` from bit `bit` on, `step` bits apart. */
interface Shared {
  readonly at: number;
  readonly stride: number;
  readonly count: number;
}

/** Replaces the values by their codes (or by what those stand for) and returns the pair as stored. */
function quantise(
  rows: Float32Array,
  { at, stride, count }: Shared,
  most: number,
  half: boolean,
  back: boolean,
): [scale: number, least: number] {
  let least = rows[at], largest = rows[at];
  for (let i = 1, e = at + stride; i < count; i++, e += stride) {
    if (rows[e] < least) least = rows[e];
    if (rows[e] > largest) largest = rows[e];
  }
  let scale = Math.fround(Math.fround(largest - least) / most);
  if (half) {
    scale = Math.f16round(scale);
    least = Math.f16round(least);
  }
  if (scale === 0) scale = 1;
  for (let i = 0, e = at; i < count; i++, e += stride) {
    const code = codeOf(rows[e], scale, least, most);
    rows[e] = back ? Math.fround(Math.fround(code * scale) + least) : code;
  }
  return [scale, least];
}

export function runKvPack(machine: Machine, w: Uint32Array): void {
  const bits = w[PackWord.bits], tail = w[PackWord.tail] === 1, most = 2 ** bits - 1;
  eachGroup(machine, w, (job, head, first, slots, word, view) => {
    const whole = slots === PACK_SLOTS;
    if (!whole && !tail) return;
    const { page, pageBytes } = view,
      { keep } = job,
      { headDim } = page,
      half = page.dtype === "f16",
      parts = valueParts(headDim);
    const { f32, u32, f16, scratch } = machine, room = scratch >>> 2, rowsWords = PACK_SLOTS * headDim;
    const table = job.targetTable * 4 + first / page.slots * 4,
      at = view.address + head * headBytes(page);
    headKernels(machine, page).unpack(
      ...[table, Math.ceil(slots / page.slots), at, pageBytes, scratch, scratch + 4 * rowsWords] as const,
    );
    const keys = f32.subarray(room, room + rowsWords),
      values = f32.subarray(room + rowsWords, room + 2 * rowsWords);
    const pairWords = PAIR_WORDS[page.dtype], codeWords = rowsWords * bits / 32;
    const putPair = (offset: number, [scale, least]: [number, number]) => {
      if (!whole) return;
      const place = keep.at(word + offset);
      if (half) {
        f16[2 * place] = scale;
        f16[2 * place + 1] = least;
      } else {
        f32[place] = scale;
        f32[keep.at(word + offset + 1)] = least;
      }
    };
    for (let d = 0; d < headDim; d++) {
      const shared = { at: d, stride: headDim, count: slots };
      putPair(codeWords + d * pairWords, quantise(keys, shared, most, half, !whole));
    }
    const valuePairs = 2 * codeWords + headDim * pairWords;
    for (let t = 0; t < slots; t++) {
      for (let part = 0; part < parts; part++) {
        const d = part * PACK_CHANNELS,
          shared = {
            at: t * headDim + d,
            stride: 1,
            count: Math.min(PACK_CHANNELS, headDim - d),
          };
        putPair(valuePairs + (t * parts + part) * pairWords, quantise(values, shared, most, half, !whole));
      }
    }
    if (!whole) {
      const { store } = storeKernels(machine, page);
      for (let t = 0; t < slots; t++) {
        const slot = first + t, to = at + u32[(table >>> 2) + Math.floor(t / page.slots)] * pageBytes;
        const row = scratch + 4 * t * headDim;
        store(row, row + 4 * rowsWords, to, slot % page.slots, 1);
      }
      return;
    }
    const perWord = 32 / bits;
    for (let i = 0; i < codeWords; i++) {
      let key = 0, value = 0;
      for (let c = 0; c < perWord; c++) {
        const index = i * perWord + c;
        key |= keys[index % PACK_SLOTS * headDim + Math.floor(index / PACK_SLOTS)] << (c * bits);
        value |= values[index] << (c * bits);
      }
      u32[keep.at(word + i)] = key;
      u32[keep.at(word + codeWords + headDim * pairWords + i)] = value;
    }
  });
}

/** What codes stand for, written where the target's pages are. */
export function runKvUnpack(machine: Machine, w: Uint32Array): void {
  const bits = w[PackWord.bits] as KvBits, { u32, scratch } = machine;
  eachGroup(machine, w, (job, head, first, _slots, word, view) => {
    const { page, pageBytes } = view, unpack = unpackKernel(machine, page, bits);
    // Packed words side by side, so that none is looked up by its page.
    const words = packedGroupWords(page, bits);
    job.keep.runs(
      word,
      words,
      (at, offset, count) => u32.copyWithin((scratch >>> 2) + offset, at, at + count),
    );
    const table = job.targetTable * 4 + first / page.slots * 4;
    unpack(scratch, table, view.address + head * headBytes(page), pageBytes);
  });
}
