/** The self-test's attention: rope, the page store and attend, over two steps of a ragged batch; and whole segments. */
import type { Backend, HeadShape, Step } from "../ops/backend.ts";
import { KV_ELEMENT_BYTES, type KvDtype, type KvMap } from "../ops/kv.ts";
import { compareSelfTest, wave } from "../ops/self_test.ts";
import { PAGE_SLOTS_F16 } from "../core/limits.ts";
import { attended, rotated } from "./self_test_formula.ts";
import { runStep } from "./self_test_step.ts";

/** Two query heads a KV head, so that a single token is a tile of two rows. */
function shapeOf(headDim: number): HeadShape {
  return { heads: 4, kvHeads: 2, headDim };
}

function colsOf({ heads, kvHeads, headDim }: HeadShape): number {
  return (heads + 2 * kvHeads) * headDim;
}

/** Tokens of each sequence's prompt: every height of attend's tile, and one that fills pages. */
const LENGTHS = [19, 2, 3, 4, 5, 6];
/** Pages of each sequence: enough for its prompt and one token in the smallest pages. */
const PAGES_EACH = 3;

/** A rounding to f16 may fall on the other side in f32 than in f64: 2^−11 of one value among many. */
const ERROR_MAX_F16 = 5e-4;

/** Keys and values of a sequence so far, by KV head, as its pages hold them. */
type Cache = { readonly keys: ArrayLike<number>[][]; readonly values: ArrayLike<number>[][] };

/** A prompt in each sequence, then one more token in each. */
export async function checkPagedAttention(
  backend: Backend,
  dtype: KvDtype,
  headDim: number,
): Promise<string> {
  const shape = shapeOf(headDim), { heads, kvHeads } = shape, scale = 1 / Math.sqrt(headDim);
  const pageBytes = PAGE_SLOTS_F16 * 2 * kvHeads * headDim * KV_ELEMENT_BYTES.f16;
  const pageSlots = PAGE_SLOTS_F16 * KV_ELEMENT_BYTES.f16 / KV_ELEMENT_BYTES[dtype];
  const pageCount = LENGTHS.length * PAGES_EACH;
  const pages = backend.createKvPages({ dtype, kvHeads, headDim, pageBytes, pageSlots, pageCount });
  const perHead = () => Array.from({ length: kvHeads }, () => []);
  const caches = LENGTHS.map((): Cache => ({ keys: perHead(), values: perHead() }));
  const errors: string[] = [];
  try {
    for (
      const part of [{ stored: LENGTHS.map(() => 0), tokens: LENGTHS }, {
        stored: LENGTHS,
        tokens: LENGTHS.map(() => 1),
      }]
    ) {
      const count = part.tokens.reduce((sum, n) => sum + n, 0);
      const qkv = wave(count * colsOf(shape), 9 + count), rotary = angles(count, headDim);
      const [bytes] = await runStep(backend, (step) => {
        const x = step.upload(count, colsOf(shape), qkv), out = step.tensor(count, heads * headDim);
        const o = { qkv: x, shape, pages, map: mapOf(step, part.stored, part.tokens), layer: 0 };
        step.ropeWriteKv({ ...o, rotary: step.upload(count, headDim, rotary) });
        step.pagedAttention({ ...o, scale, out });
        return [out];
      });
      const expected = expectPaged(caches, shape, part.tokens, qkv, rotary, dtype);
      errors.push(compareSelfTest(expected, bytes, dtype === "f16" ? ERROR_MAX_F16 : undefined));
    }
  } finally {
    backend.destroyKvPages(pages);
  }
  return errors.join("; then ");
}

/** Two segments, in which every row sees every row. */
export async function checkSegmentAttention(backend: Backend, headDim: number): Promise<string> {
  const shape = shapeOf(headDim), { heads, kvHeads } = shape;
  const scale = 1 / Math.sqrt(headDim), queries = heads * headDim;
  const bounds = Uint32Array.of(0, 18, 23), count = 23;
  const qkv = wave(count * colsOf(shape), 10);
  const [bytes] = await runStep(backend, (step) => {
    const out = step.tensor(count, queries);
    const o = { qkv: step.upload(count, colsOf(shape), qkv), shape, scale };
    step.segmentAttention({ ...o, segments: step.indices(bounds), out });
    return [out];
  });
  const expected = new Float64Array(count * queries);
  for (let segment = 0; segment + 1 < bounds.length; segment++) {
    const rows = Array.from({ length: bounds[segment + 1] - bounds[segment] }, (_, i) => bounds[segment] + i);
    for (const t of rows) {
      for (let h = 0; h < heads; h++) {
        const kv = kvHeadOf(shape, h);
        const keys = rows.map((row) => headOf(shape, qkv, row, heads + kv));
        const values = rows.map((row) => headOf(shape, qkv, row, heads + kvHeads + kv));
        const out = attended(headOf(shape, qkv, t, h), keys, values, scale);
        expected.set(out, t * queries + h * headDim);
      }
    }
  }
  return compareSelfTest(expected, bytes);
}

function kvHeadOf({ heads, kvHeads }: HeadShape, head: number): number {
  return Math.floor(head * kvHeads / heads);
}

/** Head `head` of a row of qkv: queries, then keys, then values. */
function headOf(shape: HeadShape, qkv: Float32Array, row: number, head: number): Float32Array {
  const at = row * colsOf(shape) + head * shape.headDim;
  return qkv.subarray(at, at + shape.headDim);
}

/** [tokens, headDim]: cosines, then sines. */
function angles(tokens: number, headDim: number): Float32Array {
  const half = headDim / 2;
  return Float32Array.from({ length: tokens * headDim }, (_, i) => {
    const channel = i % headDim, angle = Math.floor(i / headDim) * 0.3 + channel % half;
    return channel < half ? Math.cos(angle) : Math.sin(angle);
  });
}

/** One layer; sequence s owns pages s · PAGES_EACH and the next, in reverse, so that tables are really read. */
function mapOf(step: Step, stored: readonly number[], tokens: readonly number[]): KvMap {
  const owners: number[] = [], firsts: number[] = [], tables: number[] = [], starts: number[] = [];
  const total = tokens.reduce((sum, n) => sum + n, 0), header = total + 1 + 3 * tokens.length;
  for (const [s, count] of tokens.entries()) {
    firsts.push(owners.length);
    for (let t = 0; t < count; t++) owners.push(s);
    starts.push(header + tables.length);
    for (let p = PAGES_EACH - 1; p >= 0; p--) tables.push(s * PAGES_EACH + p);
  }
  const words = Uint32Array.from([...owners, ...firsts, total, ...stored, ...starts, ...tables]);
  return { indices: step.indices(words), tokens: total, sequences: tokens.length, layers: 1 };
}

/** What the batch's rows come to; each sequence's cache grows by its tokens. */
function expectPaged(
  caches: readonly Cache[],
  shape: HeadShape,
  tokens: readonly number[],
  qkv: Float32Array,
  rotary: Float32Array,
  dtype: KvDtype,
): Float64Array {
  const { heads, kvHeads, headDim } = shape, scale = 1 / Math.sqrt(headDim);
  const store = (values: ArrayLike<number>) =>
    dtype === "f16" ? Float16Array.from(values) : Float32Array.from(values);
  const expected = new Float64Array(qkv.length / colsOf(shape) * heads * headDim);
  let row = 0;
  for (const [s, count] of tokens.entries()) {
    const { keys, values } = caches[s];
    for (let t = 0; t < count; t++, row++) {
      const turn = rotary.subarray(row * headDim, (row + 1) * headDim);
      for (let kv = 0; kv < kvHeads; kv++) {
        keys[kv].push(store(rotated(headOf(shape, qkv, row, heads + kv), turn)));
        values[kv].push(store(headOf(shape, qkv, row, heads + kvHeads + kv)));
      }
      for (let h = 0; h < heads; h++) {
        const kv = kvHeadOf(shape, h);
        const out = attended(rotated(headOf(shape, qkv, row, h), turn), keys[kv], values[kv], scale);
        expected.set(out, row * heads * headDim + h * headDim);
      }
    }
  }
  return expected;
}
