/** kv_merge: slots that go are folded, half way, into the most similar of those that stay. Threads take whole heads. */
import { CompressWord, eachHead } from "./compression.ts";
import { headKernels } from "./head_kernels.ts";
import { PageWalk, SlotWriter } from "./heads.ts";
import type { Kernel, Machine } from "./machine.ts";
import type { PageShape } from "./page.ts";

/** Keys of a block: as many as the kernel multiplies at a time. */
const BLOCK = 16;

/** Directions of some keys, in scratch as a KV head's pages hold keys, so that one kernel multiplies a key with all of them. */
class Directions {
  /** Keys that fit at a time. */
  readonly most: number;
  /** Word index of the products. */
  readonly products: number;
  readonly #dots: Kernel;
  readonly #blockWords: number;
  /** Word indices: the key that is multiplied, the table of blocks, the blocks. */
  readonly #key: number;
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
    this.#key = machine.scratch >>> 2;
    this.products = this.#key + headDim;
    this.#blocks = this.products + blocks * BLOCK;
    this.#table = this.#blocks + blocks * this.#blockWords;
  }

  /** Lays out the directions of the keys of `slots`, at most `most`. */
  lay(keys: Float32Array, slots: Uint32Array): void {
    const { f32, u32 } = this.machine, { headDim } = this;
    this.#count = Math.ceil(slots.length / BLOCK);
    for (let block = 0; block < this.#count; block++) u32[this.#table + block] = block;
    for (let i = 0; i < slots.length; i++) {
      const from = slots[i] * headDim;
      let squares = 0;
      for (let d = 0; d < headDim; d++) squares += keys[from + d] * keys[from + d];
      const inverse = 1 / Math.max(Math.sqrt(squares), 1e-12);
      let to = this.#blocks + Math.floor(i / BLOCK) * this.#blockWords + i % BLOCK;
      for (let d = 0; d < headDim; d++, to += BLOCK) f32[to] = keys[from + d] * inverse;
    }
  }

  /** Products of a slot's key with the directions laid out, in their order: cosines times the key's own length. */
  multiply(keys: Float32Array, slot: number): void {
    const { f32 } = this.machine, { headDim } = this;
    for (let d = 0, from = slot * headDim; d < headDim; d++) f32[this.#key + d] = keys[from + d];
    this.#dots(
      4 * this.#table,
      this.#count,
      4 * this.#blocks,
      4 * this.#blockWords,
      4 * this.products,
      4 * this.#key,
    );
  }
}

/** For every slot of `goes` the index in `stays` of the most similar one; ties to the lower. */
function nearest(
  machine: Machine,
  keys: Float32Array,
  headDim: number,
  stays: Uint32Array,
  goes: Uint32Array,
): Uint32Array {
  const { f32 } = machine, best = new Uint32Array(goes.length);
  const similarity = new Float32Array(goes.length).fill(-Infinity);
  const directions = new Directions(machine, headDim), { most, products } = directions;
  for (let first = 0; first < stays.length; first += most) {
    const some = stays.subarray(first, first + most), count = some.length;
    directions.lay(keys, some);
    for (let g = 0; g < goes.length; g++) {
      directions.multiply(keys, goes[g]);
      let largest = similarity[g], at = best[g];
      for (let i = 0; i < count; i++) {
        const product = f32[products + i];
        if (product > largest) {
          largest = product;
          at = first + i;
        }
      }
      similarity[g] = largest;
      best[g] = at;
    }
  }
  return best;
}

/** Slots below `slots` that are not in `stays`, which ascends. */
function othersThan(stays: Uint32Array, slots: number): Uint32Array {
  const others = new Uint32Array(slots - stays.length);
  for (let slot = 0, next = 0, at = 0; slot < slots; slot++) {
    if (stays[next] === slot) next++;
    else others[at++] = slot;
  }
  return others;
}

/** Ends a list of slots. */
const NONE = -1;

export function runKvMerge(machine: Machine, w: Uint32Array): void {
  const chosen = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  eachHead(machine, w, (job, head, row, view) => {
    const { headDim } = view.page, { kept } = job, pages = new PageWalk(machine, view, job, head);
    const at = chosen + row * width, target = job.targetTable * 4;
    pages.kernels.gather(4 * at, kept, pages.table, target, pages.head, view.pageBytes, machine.scratch);
    const stays = machine.u32.slice(at, at + kept), goes = othersThan(stays, job.slots);
    if (goes.length === 0) return;
    const { keys, values } = pages.rows(), best = nearest(machine, keys, headDim, stays, goes);
    // Lists of what went to one slot, ascending: its first, and behind each the next; NONE ends them.
    const firsts = new Int32Array(kept).fill(NONE), nexts = new Int32Array(goes.length).fill(NONE);
    for (let g = goes.length - 1; g >= 0; g--) {
      nexts[g] = firsts[best[g]];
      firsts[best[g]] = g;
    }
    const writer = new SlotWriter(machine, view, job, head), sums = new Float64Array(2 * headDim);
    for (let i = 0; i < kept; i++) {
      if (firsts[i] === NONE) continue;
      const pivot = stays[i] * headDim;
      let count = 1;
      for (let d = 0; d < headDim; d++) {
        sums[d] = keys[pivot + d];
        sums[headDim + d] = values[pivot + d];
      }
      for (let g = firsts[i]; g !== NONE; g = nexts[g], count++) {
        const own = goes[g] * headDim;
        for (let d = 0; d < headDim; d++) {
          sums[d] += (keys[own + d] + keys[pivot + d]) / 2;
          sums[headDim + d] += (values[own + d] + values[pivot + d]) / 2;
        }
      }
      for (let d = 0; d < 2 * headDim; d++) writer.row[d] = sums[d] / count;
      writer.write(i);
    }
  });
}
