/** The self-test's compression: what prefill keeps, scores, copies and packed slots of one prompt, in one step. */
import { PAGE_SLOTS_F16 } from "../core/limits.ts";
import type { Backend } from "../ops/backend.ts";
import { KV_ELEMENT_BYTES, type KvBits, type KvDtype, PACK_SLOTS } from "../ops/kv.ts";
import { compareSelfTest, wave } from "../ops/self_test.ts";
import { attended, quantised } from "./self_test_formula.ts";
import {
  Deck,
  dot,
  ERROR_MAX_F16,
  GROUP,
  HEADS,
  jobOf,
  keepsOf,
  mapOf,
  Prompt,
  qkvCols,
  SLOTS,
  softmax,
} from "./self_test_prompt.ts";
import { runStep } from "./self_test_step.ts";

const KEPT = 18;

/** Slots that KV head `head` keeps. */
const keptOf = (head: number) => Array.from({ length: KEPT }, (_, i) => 2 * i + head);

/**
 * Rows of sixteen values a quarter apart. Each row has the least and the largest in every eight columns, and so has each column in
 * every eight rows: ranges are fifteen steps, and no code of 4 or 8 bits lies near the middle between two.
 */
function lattice(rows: number, cols: number): Float32Array {
  const codes = wave(rows * cols, 11);
  return codes.map((value, i) => {
    const along = (i % cols - Math.floor(i / cols) + rows * 8) % 8;
    const code = along === 0 ? 0 : along === 1 ? 15 : Math.floor(Math.abs(value) * 5);
    return code / 4 - 1.75;
  });
}

/** Scores of one KV head by kv_norm, kv_key_diff and kv_columns. */
function expectedScores(prompt: Prompt, kv: number): number[][] {
  const { keys, headDim, scale } = prompt,
    own = keys[kv],
    lengths = own.map((key) => Math.sqrt(dot(key, key)));
  const anchor = Float64Array.from(
    { length: headDim },
    (_, d) => own.reduce((sum, key, slot) => sum + key[d] / lengths[slot], 0),
  );
  const anchorLength = Math.sqrt(dot(anchor, anchor));
  const columns = new Array<number>(SLOTS).fill(0);
  for (let head = kv * GROUP; head < (kv + 1) * GROUP; head++) {
    for (let t = 0; t < SLOTS; t++) {
      const seen = own.slice(0, t + 1).map((key) => scale * dot(prompt.query(t, head), key));
      softmax(seen).forEach((p, slot) => columns[slot] += p / GROUP);
    }
  }
  return [
    lengths.map((length) => -length),
    own.map((key, slot) => -dot(key, anchor) / lengths[slot] / anchorLength),
    columns,
  ];
}

/** Scores without and with what prefill kept; kept slots copied and packed ones unpacked, as a query then sees them. */
export async function checkCompression(backend: Backend, dtype: KvDtype, headDim: number): Promise<string> {
  const prompt = new Prompt(dtype, headDim, lattice(SLOTS, qkvCols(headDim)));
  const { shape, scale, cols, qkv } = prompt, { heads, kvHeads } = shape;
  const pageBytes = PAGE_SLOTS_F16 * 2 * kvHeads * headDim * KV_ELEMENT_BYTES.f16;
  const pageSlots = PAGE_SLOTS_F16 * KV_ELEMENT_BYTES.f16 / KV_ELEMENT_BYTES[dtype];
  const deck = new Deck(), pagesOf = (slots: number) => deck.pages(Math.ceil(slots / pageSlots));
  const source = pagesOf(SLOTS), copy = pagesOf(KEPT);
  const columns = deck.pages(Math.ceil(4 * kvHeads * SLOTS / pageBytes));
  // Codes and their pairs are less than twice what f32 slots are.
  const packed = ([8, 4] as const).map((bits) => ({
    bits,
    codes: pagesOf(4 * SLOTS),
    room: pagesOf(PACK_SLOTS),
  }));
  const pageCount = deck.pages(1)[0];
  const pages = backend.createKvPages({ ...{ dtype, kvHeads, headDim, pageBytes, pageSlots, pageCount } });
  try {
    const results = await runStep(backend, (step) => {
      const identity = (rows: number) =>
        step.upload(
          rows,
          headDim,
          Float32Array.from({ length: rows * headDim }, (_, i) => Number(i % headDim < headDim / 2)),
        );
      const rows = step.upload(SLOTS, cols, qkv), map = mapOf(step, 0, SLOTS, source);
      const o = { qkv: rows, shape, pages, map, layer: 0 };
      step.ropeWriteKv({ ...o, rotary: identity(SLOTS) });
      step.keepColumns({ ...o, scale, keeps: keepsOf(step, columns) });
      const job = (keep: readonly number[]) =>
        jobOf(step, { slots: SLOTS, kept: KEPT, source, target: copy, keep });
      const scores = Array.from({ length: 3 }, () => step.tensor(kvHeads, SLOTS));
      step.kvNorm({ pages, jobs: job([]), scores: scores[0] });
      step.kvKeyDiff({ pages, jobs: job([]), scores: scores[1] });
      step.kvColumns({ pages, jobs: job(columns), shape, scores: scores[2], seen: false, bias: null });
      const kept = Array.from({ length: kvHeads }, (_, head) => keptOf(head)).flat();
      step.kvGather({
        pages,
        jobs: job([]),
        kept: step.uploadIndices(kvHeads, KEPT, Uint32Array.from(kept)),
      });
      for (const { bits, codes, room } of packed) {
        const slots = { slots: SLOTS, kept: SLOTS, source: [], keep: codes };
        step.kvPack({ pages, jobs: jobOf(step, { ...slots, target: source }), bits, tail: false });
        const whole = { ...slots, slots: PACK_SLOTS, kept: PACK_SLOTS };
        step.kvUnpack({ pages, jobs: jobOf(step, { ...whole, target: room }), bits });
      }
      const seen = [[KEPT, copy], ...packed.map(({ room }) => [PACK_SLOTS, room])] as [number, number[]][];
      const outs = seen.map(([slots, table]) => {
        const out = step.tensor(1, heads * headDim), query = step.upload(1, cols, qkv.subarray(0, cols));
        step.pagedAttention({
          qkv: query,
          shape,
          scale,
          pages,
          map: mapOf(step, slots - 1, 1, table),
          layer: 0,
          out,
        });
        return out;
      });
      return [...scores, ...outs];
    });
    const expected = Array.from({ length: kvHeads }, (_, kv) => expectedScores(prompt, kv));
    const errorMax = dtype === "f16" ? ERROR_MAX_F16 : undefined;
    const errors = Array.from(
      { length: 3 },
      (_, i) => compareSelfTest(expected.flatMap((own) => own[i]), results[i], errorMax),
    );
    errors.push(compareSelfTest(attendedTo(prompt, null), results[3], errorMax));
    for (const [i, { bits }] of packed.entries()) {
      errors.push(compareSelfTest(attendedTo(prompt, bits), results[4 + i], errorMax));
    }
    return errors.at(-1)!;
  } finally {
    backend.destroyKvPages(pages);
  }
}

/** What the first token's queries read of the slots that are kept, or of the whole groups packed in so many bits. */
function attendedTo(prompt: Prompt, bits: KvBits | null): Float64Array {
  const { keys, values, headDim, scale, dtype } = prompt, out = new Float64Array(HEADS.heads * headDim);
  for (let head = 0; head < HEADS.heads; head++) {
    const kv = Math.floor(head / GROUP);
    const slots = bits === null ? keptOf(kv) : Array.from({ length: PACK_SLOTS }, (_, slot) => slot);
    let ownKeys = slots.map((slot) => Array.from(keys[kv][slot]));
    let ownValues = slots.map((slot) => Array.from(values[kv][slot]));
    if (bits !== null) {
      const channels = Array.from(
        { length: headDim },
        (_, d) => quantised(ownKeys.map((key) => key[d]), bits, dtype),
      );
      ownKeys = slots.map((_, i) => channels.map((channel) => channel[i]));
      ownValues = ownValues.map((value) => quantised(value, bits, dtype));
    }
    out.set(attended(prompt.query(0, head), ownKeys, ownValues, scale), head * headDim);
  }
  return out;
}
