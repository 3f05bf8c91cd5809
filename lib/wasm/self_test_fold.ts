/** The self-test's fold: slots stored, folded by two networks or copied, and looked at by attention. */
import { PAGE_SLOTS_F16 } from "../core/limits.ts";
import type { Backend, FoldNetwork, FoldNetworks, Step } from "../ops/backend.ts";
import { JOB_WORDS, JobWord, KV_ELEMENT_BYTES, KV_RAW, type KvDtype, type KvMap } from "../ops/kv.ts";
import { compareSelfTest, wave } from "../ops/self_test.ts";
import { attended } from "./self_test_formula.ts";
import { filledMatrix, runStep } from "./self_test_step.ts";

const KV_HEADS = 2;
/** Tables that are not in order: they are really read. */
const SOURCE = [4, 1, 6, 2, 5, 3], TARGET = [8, 0, 7];
const PAGE_COUNT = 9;
/** Kernels do not depend on it. */
const FACTOR = 3;
/** Groups side by side: more than four, so that slots are stored together and one by one. */
const GROUPS = 7, FIRST = 1;
/** Outputs of the two layers between: part of a panel, and more than one block of columns. */
const WIDTHS = [36, 12];
/** A rounding to f16 may fall on the other side in f32 than in f64: 2^−11 of one value among many. */
const ERROR_MAX_F16 = 5e-4;

/** A layer as the device has it and in plain numbers. */
interface Layer {
  readonly inputs: number;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

function layersOf(headDim: number, seed: number): Layer[] {
  const sizes = [FACTOR * headDim, ...WIDTHS, headDim];
  return WIDTHS.concat(headDim).map((outputs, index) => {
    const inputs = sizes[index];
    return {
      inputs,
      weight: wave(outputs * inputs, seed + index).map((value) => value / Math.sqrt(inputs)),
      bias: wave(outputs, seed + index + 3),
    };
  });
}

function folded(layers: readonly Layer[], x: readonly number[]): number[] {
  return layers.reduce((from: readonly number[], { weight, bias }, index) =>
    Array.from(bias, (offset, n) => {
      const sum = from.reduce((total, value, k) => total + weight[n * from.length + k] * value, offset);
      return index < layers.length - 1 ? Math.max(0, sum) : sum;
    }), x) as number[];
}

/** Sequences of one token after `stored` slots, or one of many from slot 0 on. */
function mapOf(step: Step, tokens: number, stored: number, table: readonly number[]): KvMap {
  const words = [...new Array<number>(tokens).fill(0), 0, tokens, stored, tokens + 4, ...table];
  return { indices: step.indices(Uint32Array.from(words)), tokens, sequences: 1, layers: 1 };
}

/** Folds GROUPS groups of FACTOR slots, copies the two slots behind them, and attends to what remains. */
export async function checkFold(backend: Backend, dtype: KvDtype, headDim: number): Promise<string> {
  const shape = { heads: KV_HEADS, kvHeads: KV_HEADS, headDim }, width = KV_HEADS * headDim;
  const pageBytes = PAGE_SLOTS_F16 * 2 * width * KV_ELEMENT_BYTES.f16;
  const pageSlots = PAGE_SLOTS_F16 * KV_ELEMENT_BYTES.f16 / KV_ELEMENT_BYTES[dtype];
  const slots = FIRST + GROUPS * FACTOR + 2, kept = GROUPS + 2;
  const pages = backend.createKvPages({
    ...{ dtype, kvHeads: KV_HEADS, headDim, pageBytes, pageSlots, pageCount: PAGE_COUNT },
  });
  const plain = { keys: layersOf(headDim, 20), values: layersOf(headDim, 30) };
  const held = Object.values(plain).map((layers) =>
    layers.map(({ inputs, weight, bias }) => ({
      weight: filledMatrix(backend, "f32", bias.length, inputs, weight, false),
      bias: backend.createTensor(1, bias.length, bias),
    }))
  ) as unknown as readonly [FoldNetwork, FoldNetwork];
  try {
    const qkv = wave(slots * 3 * width, 40), query = wave(3 * width, 41);
    const [bytes] = await runStep(backend, (step) => {
      const angles = Float32Array.from(
        { length: slots * headDim },
        (_, i) => i % headDim < headDim / 2 ? 1 : 0,
      );
      step.ropeWriteKv({
        ...{ qkv: step.upload(slots, 3 * width, qkv), rotary: step.upload(slots, headDim, angles), shape },
        ...{ pages, map: mapOf(step, slots, 0, SOURCE), layer: 0 },
      });
      const networks: FoldNetworks = { keys: held[0], values: held[1] };
      const groups = Array.from({ length: GROUPS }, (_, i) => [0, FIRST + i * FACTOR, i, 0]);
      const raw = [2, 1].map((behind, i) => [0, slots - behind, GROUPS + i, KV_RAW]);
      step.kvFold({
        ...{ pages, layers: [{ layer: 0, networks: [networks] }] },
        jobs: { ...{ jobs: 1, slotsMax: slots, keptMax: kept }, indices: jobOf(step, slots, kept) },
        groups: step.indices(Uint32Array.from([...groups, ...raw].flat())),
      });
      const out = step.tensor(1, width);
      step.pagedAttention({
        ...{ qkv: step.upload(1, 3 * width, query), shape, scale: 1 / Math.sqrt(headDim), pages, out },
        ...{ map: mapOf(step, 1, kept - 1, TARGET), layer: 0 },
      });
      return [out];
    });
    const stored = (values: Iterable<number>) =>
      dtype === "f16" ? Float16Array.from(values) : Float32Array.from(values);
    const expected = new Float64Array(width);
    for (let head = 0; head < KV_HEADS; head++) {
      const column = (part: number, layers: readonly Layer[]) => {
        const rows = Array.from({ length: slots }, (_, slot) => {
          const at = (slot * 3 + part) * width + head * headDim;
          return stored(qkv.subarray(at, at + headDim));
        });
        const folds = Array.from({ length: GROUPS }, (_, i) => {
          const group = rows.slice(FIRST + i * FACTOR, FIRST + (i + 1) * FACTOR);
          return stored(folded(layers, group.flatMap((row) => [...row])));
        });
        return [...folds, ...rows.slice(-2)];
      };
      const q = query.subarray(head * headDim, (head + 1) * headDim);
      const seen = attended(q, column(1, plain.keys), column(2, plain.values), 1 / Math.sqrt(headDim));
      expected.set(seen, head * headDim);
    }
    return compareSelfTest(expected, bytes, dtype === "f16" ? ERROR_MAX_F16 : undefined);
  } finally {
    for (const { weight, bias } of held.flat()) {
      backend.destroyMatrix(weight);
      backend.destroyTensor(bias);
    }
    backend.destroyKvPages(pages);
  }
}

/** One job's record and tables. */
function jobOf(step: Step, slots: number, kept: number) {
  const words = new Uint32Array(JOB_WORDS + SOURCE.length + TARGET.length);
  words[JobWord.slots] = slots;
  words[JobWord.kept] = kept;
  words[JobWord.sourceTable] = JOB_WORDS;
  words[JobWord.targetTable] = JOB_WORDS + SOURCE.length;
  words.set(SOURCE, JOB_WORDS);
  words.set(TARGET, JOB_WORDS + SOURCE.length);
  return step.indices(words);
}
