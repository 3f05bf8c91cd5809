/** keep_queries, keep_moments, keep_columns: what prefill keeps for compression, as raw words of pages. Threads take whole heads. */
import { KEEP_WORDS, KeepWord } from "../ops/kv.ts";
import { attendRows, weightKernels } from "./attention.ts";
import { RawPages } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { MAP_WORDS, readMap } from "./map.ts";
import { headBytes, PAGES_WORDS, type PagesView, readPages } from "./page.ts";
import { assertWeightScratch, weightScratch } from "./window.ts";

/** keeps: word index of KvKeeps' array, records, layer. */
export const KeptWord = {
  qkv: 0,
  heads: 1,
  scale: 2,
  pages: 3,
  map: 3 + PAGES_WORDS,
  keeps: 3 + PAGES_WORDS + MAP_WORDS,
} as const;

/** One sequence of the step for which something is kept. */
interface Record {
  readonly pages: RawPages;
  /** Address of the first token's row of qkv, and bytes of a row. */
  readonly qkv: number;
  readonly rowBytes: number;
  readonly tokens: number;
  readonly slotBase: number;
  /** Byte address of the sequence's page table in this layer. */
  readonly table: number;
  readonly promptTokens: number;
  readonly setting: number;
  readonly layer: number;
}

/** Calls `visit` for this thread's heads (of `perRecord` each) of all records. */
function eachRecord(
  machine: Machine,
  w: Uint32Array,
  perRecord: (heads: number, kvHeads: number) => number,
  visit: (record: Record, head: number, heads: number, view: PagesView) => void,
): void {
  const view = readPages(w, KeptWord.pages), map = readMap(machine, w, KeptWord.map);
  const [base, count, layer] = w.subarray(KeptWord.keeps, KeptWord.keeps + 3);
  const heads = w[KeptWord.heads], { u32 } = machine;
  const rowBytes = (heads + 2 * view.kvHeads) * view.page.headDim * 4, each = perRecord(heads, view.kvHeads);
  for (let item = machine.thread; item < count * each; item += machine.sharers) {
    const at = base + KEEP_WORDS * Math.floor(item / each), sequence = u32[at + KeepWord.sequence];
    const first = map.firstToken(sequence);
    visit(
      {
        pages: new RawPages(u32, view, base + u32[at + KeepWord.table]),
        qkv: w[KeptWord.qkv] + first * rowBytes,
        rowBytes,
        tokens: map.firstToken(sequence + 1) - first,
        slotBase: map.slotBase(sequence),
        table: map.table(sequence) * 4,
        promptTokens: u32[at + KeepWord.promptTokens],
        setting: u32[at + KeepWord.setting],
        layer,
      },
      item % each,
      heads,
      view,
    );
  }
}

/** Copies the queries of those tokens that are among the prompt's last `setting`. */
export function runKeepQueries(machine: Machine, w: Uint32Array): void {
  eachRecord(machine, w, (heads) => heads, (record, head, heads, view) => {
    const { headDim } = view.page, { setting: window, tokens } = record;
    const base = record.layer * window * heads * headDim;
    const row0 = record.slotBase - (record.promptTokens - window);
    for (let t = Math.max(0, -row0); t < tokens; t++) {
      const from = (record.qkv + t * record.rowBytes >>> 2) + head * headDim;
      machine.u32.copyWithin(
        record.pages.at(base + ((row0 + t) * heads + head) * headDim),
        from,
        from + headDim,
      );
    }
  });
}

/** Joins mean and squared deviations of this step's tokens with those before (Chan, Golub, LeVeque 1979). */
export function runKeepMoments(machine: Machine, w: Uint32Array): void {
  eachRecord(machine, w, (heads) => heads, (record, head, heads, view) => {
    const { headDim } = view.page, { f32 } = machine, { slotBase, setting: skipped } = record;
    const before = Math.max(0, slotBase - skipped), first = Math.max(0, skipped - slotBase);
    const added = record.tokens - first;
    if (added <= 0) return;
    const rowWords = record.rowBytes >>> 2, q = (record.qkv >>> 2) + first * rowWords + head * headDim;
    const mean = new Float64Array(headDim), sums = new Float64Array(headDim * headDim);
    for (let t = 0; t < added; t++) {
      for (let d = 0; d < headDim; d++) mean[d] += f32[q + t * rowWords + d];
    }
    for (let d = 0; d < headDim; d++) mean[d] /= added;
    const x = new Float64Array(headDim);
    for (let t = 0; t < added; t++) {
      for (let d = 0; d < headDim; d++) x[d] = f32[q + t * rowWords + d] - mean[d];
      for (let i = 0; i < headDim; i++) {
        const xi = x[i], row = i * headDim;
        for (let j = i; j < headDim; j++) sums[row + j] += xi * x[j];
      }
    }
    const at = (record.layer * heads + head) * (headDim + headDim * headDim), total = before + added;
    const word = (i: number) => record.pages.at(at + i);
    const shift = mean.map((value, d) => value - (before > 0 ? f32[word(d)] : 0));
    for (let i = 0; i < headDim; i++) {
      for (let j = 0; j < headDim; j++) {
        const sum = sums[Math.min(i, j) * headDim + Math.max(i, j)];
        const place = word(headDim + i * headDim + j);
        f32[place] = before === 0 ? sum : f32[place] + sum + shift[i] * shift[j] * before * added / total;
      }
    }
    for (let d = 0; d < headDim; d++) {
      const place = word(d);
      f32[place] = before === 0 ? mean[d] : f32[place] + shift[d] * added / total;
    }
  });
}

/** Adds the attention weights of this step's queries, slot by slot. */
export function runKeepColumns(machine: Machine, w: Uint32Array, scale: number): void {
  const at = weightScratch(machine), { f32 } = machine;
  eachRecord(machine, w, (_heads, kvHeads) => kvHeads, (record, kv, heads, view) => {
    const { page, kvHeads, pageBytes } = view, group = heads / kvHeads, headRow = page.headDim * 4;
    const { tokens, slotBase, promptTokens } = record, seen = slotBase + tokens, sums = at.sums >>> 2;
    assertWeightScratch(machine, seen);
    const weigh = weightKernels(machine, page);
    f32.fill(0, sums, sums + seen + page.slots);
    for (let h = kv * group; h < (kv + 1) * group; h++) {
      attendRows(
        weigh,
        tokens,
        record.qkv + h * headRow,
        record.rowBytes,
        at.sums,
        0,
        record.table,
        view.address + kv * headBytes(page),
        pageBytes,
        slotBase + 1,
        1,
        at.scores,
        scale,
      );
    }
    const begin = (record.layer * kvHeads + kv) * promptTokens;
    record.pages.runs(begin, seen, (place, offset, count) => {
      for (let i = 0; i < count; i++) {
        const earlier = offset + i < slotBase ? f32[place + i] : 0;
        f32[place + i] = earlier + f32[sums + offset + i];
      }
    });
  });
}
