/** kv_merge: slots that go are folded, half way, into the most similar of those that stay. Threads take whole heads. */
import { CompressWord, eachHead } from "./compression.ts";
import { headKernels } from "./head_kernels.ts";
import { PageWalk, SlotWriter } from "./heads.ts";
import type { Kernel, Machine } from "./machine.ts";
import type { PageShape } from "./page.ts";

/** Keys by their length, [slots][headDim]. */
function directions(keys: Float32Array, headDim: number): Float32Array {
  const out = new Float32Array(keys.length);
  for (let row = 0; row < keys.length; row += headDim) {
    let squares = 0;
    for (let d = 0; d < headDim; d++) squares += keys[row + d] * keys[row + d];
    const inverse = 1 / Math.max(Math.sqrt(squares), 1e-12);
    for (let d = 0; d < headDim; d++) out[row + d] = keys[row + d] * inverse;
  }
  return out;
}

/** Vectors of a block: as many as the kernel multiplies at a time. */
const BLOCK = 16;

/** Some of the vectors that stay, in scratch as a KV head's pages hold keys, so that one kernel compares a vector with all. */
class Compared {
  /** Vectors that fit at a time. */
  readonly most: number;
  readonly #dots: Kernel;
  readonly #blockWords: number;
  /** Word indices: the vector that is compared, its products, the table of blocks, the blocks. */
  readonly #vector: number;
  readonly products: number;
  readonly #table: number;
  readonly #blocks: number;
  #count = 0;

  constructor(private readonly machine: Machine, private readonly headDim: number) {
    const page: PageShape = { headDim, slots: BLOCK, dtype: "f32" };
    this.#dots = headKernels(machine, page).dots;
    this.#blockWords = BLOCK * headDim;
    const room = (machine.scratchBytes >>> 2) - headDim;
    const blocks = Math.floor(room / (this.#blockWords + BLOCK + 1));
    this.most = blocks * BLOCK;
    this.#vector = machine.scratch >>> 2;
    this.products = this.#vector + headDim;
    this.#blocks = this.products + blocks * BLOCK;
    this.#table = this.#blocks + blocks * this.#blockWords;
  }

  /** Lays out `count` of the vectors, at most `most`, from `first` on. */
  lay(vectors: Float32Array, first: number, count: number): void {
    const { f32, u32 } = this.machine, { headDim } = this;
    this.#count = Math.ceil(count / BLOCK);
    for (let block = 0; block < this.#count; block++) u32[this.#table + block] = block;
    for (let i = 0, from = first * headDim; i < count; i++) {
      let to = this.#blocks + Math.floor(i / BLOCK) * this.#blockWords + i % BLOCK;
      for (let d = 0; d < headDim; d++, from++, to += BLOCK) f32[to] = vectors[from];
    }
  }

  /** Puts the products of vectors[row] with those laid out, in their order, at word `products`. */
  multiply(vectors: Float32Array, row: number): void {
    const { f32 } = this.machine, { headDim } = this;
    for (let d = 0, from = row * headDim; d < headDim; d++) f32[this.#vector + d] = vectors[from + d];
    this.#dots(
      4 * this.#table,
      this.#count,
      4 * this.#blocks,
      4 * this.#blockWords,
      4 * this.products,
      4 * this.#vector,
    );
  }
}

/** For every slot that goes, the index in `stays` of the most similar slot that stays; ties to the lower one. */
function nearest(
  machine: Machine,
  keys: Float32Array,
  headDim: number,
  stays: Uint32Array,
  isKept: Uint8Array,
): Uint32Array {
  const all = directions(keys, headDim), toward = new Float32Array(stays.length * headDim);
  for (const [i, slot] of stays.entries()) {
    toward.set(all.subarray(slot * headDim, (slot + 1) * headDim), i * headDim);
  }
  const best = new Uint32Array(isKept.length), similarity = new Float32Array(isKept.length).fill(-Infinity);
  const compared = new Compared(machine, headDim);
  for (let first = 0; first < stays.length; first += compared.most) {
    const count = Math.min(compared.most, stays.length - first);
    compared.lay(toward, first, count);
    for (let slot = 0; slot < isKept.length; slot++) {
      if (isKept[slot] === 1) continue;
      compared.multiply(all, slot);
      let largest = similarity[slot];
      for (let i = 0; i < count; i++) {
        const product = machine.f32[compared.products + i];
        if (product > largest) {
          largest = product;
          best[slot] = first + i;
        }
      }
      similarity[slot] = largest;
    }
  }
  return best;
}

export function runKvMerge(machine: Machine, w: Uint32Array): void {
  const chosen = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  eachHead(machine, w, (job, head, row, view) => {
    const { headDim } = view.page, { slots, kept } = job;
    const { keys, values } = new PageWalk(machine, view, job, head).rows();
    const stays = machine.u32.slice(chosen + row * width, chosen + row * width + kept);
    const isKept = new Uint8Array(slots);
    for (const slot of stays) isKept[slot] = 1;
    const best = nearest(machine, keys, headDim, stays, isKept);
    const counts = new Float64Array(kept).fill(1), sums = new Float64Array(2 * kept * headDim);
    for (const [i, slot] of stays.entries()) {
      const at = slot * headDim;
      sums.set(keys.subarray(at, at + headDim), 2 * i * headDim);
      sums.set(values.subarray(at, at + headDim), (2 * i + 1) * headDim);
    }
    for (let slot = 0; slot < slots; slot++) {
      if (isKept[slot] === 1) continue;
      const own = slot * headDim, pivot = stays[best[slot]] * headDim, to = 2 * best[slot] * headDim;
      counts[best[slot]]++;
      for (let d = 0; d < headDim; d++) {
        sums[to + d] += (keys[own + d] + keys[pivot + d]) / 2;
        sums[to + headDim + d] += (values[own + d] + values[pivot + d]) / 2;
      }
    }
    const writer = new SlotWriter(machine, view, job, head);
    for (let i = 0; i < kept; i++) {
      for (let d = 0; d < 2 * headDim; d++) writer.row[d] = sums[2 * i * headDim + d] / counts[i];
      writer.write(i);
    }
  });
}
