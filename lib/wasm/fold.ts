/**
 * kv_fold: the slots of neighbouring groups are read side by side, so that they are the rows of the first product where they
 * lie; rows stay in a thread's scratch until they are stored in their target slots. Threads take whole groups of one layer. A
 * row's sums are matmul's, whatever rows stand beside it.
 */
import { assert } from "../core/assert.ts";
import type { FoldNetworks, Linear } from "../ops/backend.ts";
import { JOB_WORDS, JobWord, KV_GROUP_WORDS, KV_RAW } from "../ops/kv.ts";
import { foldKernels, ROWS_BEYOND } from "./fold_kernels.ts";
import { addBias } from "./fold_bias.ts";
import type { Kernel, Machine } from "./machine.ts";
import { tilesOf } from "./matmul_kernels.ts";
import { PAGES_WORDS, readPages } from "./page.ts";
import { PANEL } from "./panel.ts";
import type { WasmMatrix } from "./weights.ts";

/**
 * Words of a recorded fold: the pool, KvJobs' array and the groups by word index, then which layers of the model fold them,
 * and behind these the linear layers of each, of each of its networks, keys before values.
 */
export const FoldWord = {
  pages: 0,
  jobs: PAGES_WORDS,
  groups: PAGES_WORDS + 1,
  count: PAGES_WORDS + 2,
  layers: PAGES_WORDS + 3,
  networks: PAGES_WORDS + 4,
  numbers: PAGES_WORDS + 5,
} as const;

const LINEAR_WORDS = 6;
/** The inputs among the words of a linear layer. */
const COLS_WORD = 4;
/** Linear layers of a network. */
const LINEARS = 3;

/** Bytes of the rows of a run at most: they stay in the nearer caches between the products. */
const RUN_BYTES = 1 << 17;

/** Words of one linear layer; `bias` is its address. */
export function linearWords({ weight }: Linear, bias: number): number[] {
  const { format, memory, address, panels, panelStride, cols } = weight as WasmMatrix;
  assert(format === "f32", "folding networks are f32");
  return [memory, address, panels, panelStride, cols, bias];
}

/** The linear layers of a pair of networks, in order. */
export function linearsOf({ keys, values }: FoldNetworks): readonly Linear[] {
  return [...keys, ...values];
}

/** One linear layer as this thread runs it. */
interface Layer {
  readonly sweep: Kernel;
  readonly relu: boolean;
  readonly panel: number;
  readonly panels: number;
  readonly panelStride: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly bias: number;
}

interface Networks {
  readonly keys: readonly Layer[];
  readonly values: readonly Layer[];
  /** Bytes of the widest row between them. */
  readonly widest: number;
}

/** The first word of a linear layer of the pair of networks that is number `index` of those recorded. */
function linearAt(w: Uint32Array, index: number, linear: number): number {
  return FoldWord.numbers + w[FoldWord.layers] + (index * 2 * LINEARS + linear) * LINEAR_WORDS;
}

/** The pair of networks that is number `index` of those recorded. */
function networksOf(machine: Machine, w: Uint32Array, index: number): Networks {
  const layer = (linear: number): Layer => {
    const at = linearAt(w, index, linear);
    const [memory, panel, panels, panelStride, cols, bias] = w.subarray(at, at + LINEAR_WORDS);
    // Outputs that a last panel lacks are computed from weights of zero and read by nobody.
    const sizes = { inputBytes: cols * 4, outputBytes: panels * PANEL * 4 };
    const { sweep } = tilesOf(machine, "f32", memory);
    return { ...sizes, sweep, panel, panels, panelStride, bias, relu: linear % LINEARS < LINEARS - 1 };
  };
  const layers = Array.from({ length: 2 * LINEARS }, (_, linear) => layer(linear));
  return {
    keys: layers.slice(0, LINEARS),
    values: layers.slice(LINEARS),
    widest: Math.max(...layers.map(({ outputBytes }) => outputBytes)),
  };
}

/** Rows `inputBytes` apart from `x` on, to rows of each layer in turn in `room`; returns where those of the last one are. */
function multiply(machine: Machine, layers: readonly Layer[], x: number, rows: number, room: number): number {
  let from = x, fromBytes = layers[0].inputBytes, to = room;
  for (const { sweep, relu, panel, panels, panelStride, inputBytes, outputBytes, bias } of layers) {
    sweep(from, fromBytes, panel, panelStride, to, outputBytes, inputBytes, rows, panels);
    addBias(machine, relu, to, outputBytes, bias, rows);
    from = to;
    fromBytes = outputBytes;
    to += rows * outputBytes;
  }
  return from;
}

export function runKvFold(machine: Machine, w: Uint32Array): void {
  const { u32, scratch } = machine;
  const { address, pageBytes, kvHeads, page } = readPages(w, FoldWord.pages), { slots } = page;
  const { rows, stores } = foldKernels(machine, page);
  const jobs = w[FoldWord.jobs], groups = w[FoldWord.count], networks = w[FoldWord.networks];
  const slotBytes = page.headDim * 4;
  /** Slots of a group by its networks, the same in every layer. */
  const factors = Array.from(
    { length: networks },
    (_, index) => w[linearAt(w, index, 0) + COLS_WORD] * 4 / slotBytes,
  );
  const [begin, end] = machine.share(groups * w[FoldWord.layers]);
  const known: (Networks | undefined)[] = new Array(w[FoldWord.layers] * networks);
  for (let unit = begin, count = 0; unit < end; unit += count) {
    const group = unit % groups, layer = (unit - group) / groups;
    const at = w[FoldWord.groups] + KV_GROUP_WORDS * group, own = u32[at + 3];
    const raw = own === KV_RAW, slotsEach = raw ? 1 : factors[own], groupBytes = slotsEach * slotBytes;
    const most = Math.max(1, Math.floor(RUN_BYTES / (kvHeads * groupBytes))), rowsMost = most * kvHeads;
    const limit = Math.min(most, groups - group, end - unit);
    count = 1;
    while (count < limit && follows(u32, at, count, slotsEach)) count++;
    const source = u32[at + 1], target = u32[at + 2];
    const job = jobs + JOB_WORDS * (u32[at] + w[FoldWord.numbers + layer]);
    const fromPage = Math.floor(source / slots), toPage = Math.floor(target / slots);
    const from = (jobs + u32[job + JobWord.sourceTable] + fromPage) * 4;
    const to = (jobs + u32[job + JobWord.targetTable] + toPage) * 4;
    const values = scratch + rowsMost * groupBytes + ROWS_BEYOND * slotBytes;
    const products = values + rowsMost * groupBytes;
    rows(from, source - fromPage * slots, count * slotsEach, address, pageBytes, scratch, values, kvHeads);
    let key = scratch, value = values, keyBytes = slotBytes, valueBytes = slotBytes;
    if (!raw) {
      const index = layer * networks + own;
      const network = known[index] ??= networksOf(machine, w, index);
      const room = rowsMost * LINEARS * network.widest;
      assert(
        products + 2 * room <= scratch + machine.scratchBytes,
        "a run of groups fits a thread's scratch",
      );
      key = multiply(machine, network.keys, scratch, kvHeads * count, products);
      value = multiply(machine, network.values, values, kvHeads * count, products + room);
      keyBytes = network.keys[LINEARS - 1].outputBytes;
      valueBytes = network.values[LINEARS - 1].outputBytes;
    }
    const slot = target - toPage * slots;
    stores(key, keyBytes, value, valueBytes, to, slot, count, address, pageBytes, kvHeads);
  }
}

/** Whether the group `count` behind the one at `at` is of the same job and network, its slots right behind those between. */
function follows(u32: Uint32Array, at: number, count: number, slotsEach: number): boolean {
  const other = at + KV_GROUP_WORDS * count;
  return u32[other] === u32[at] && u32[other + 1] === u32[at + 1] + count * slotsEach &&
    u32[other + 2] === u32[at + 2] + count && u32[other + 3] === u32[at + 3];
}
