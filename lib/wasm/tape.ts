/**
 * A recorded step: operations one after the other in shared memory, [operation, sharers, words, …words]. Every thread runs
 * the whole tape; of each operation it stands in for sharers as long as there are any left, and then waits until all are
 * done (threads.ts).
 */
import { PagedWord, runPagedAttention, runSegmentAttention, SegmentWord } from "./attention.ts";
import { runKvChunk, runKvGather, runKvKeyDiff, runKvMean, runKvNorm, runKvTop } from "./compression.ts";
import { ExpectedWord, runKvExpected } from "./expected.ts";
import { runKvFold } from "./fold.ts";
import { runGated } from "./gated.ts";
import { KeptWord, runKeepColumns, runKeepMoments, runKeepQueries } from "./keep.ts";
import { runKvLag } from "./lag.ts";
import type { Machine } from "./machine.ts";
import { runMatmul } from "./matmul.ts";
import { runKvMerge } from "./merge.ts";
import { runKvPack, runKvUnpack } from "./packing.ts";
import { runQuantiseRows } from "./quantise_rows.ts";
import { NormWord, runNorm } from "./norm.ts";
import { runRopeWriteKv } from "./rope.ts";
import { floatOf } from "./bits.ts";
import { runEmbed, runGatherRows, runPatchify, runScatterRows, runVisionEmbed } from "./rows.ts";
import { runSample } from "./sample.ts";
import type { Control } from "./threads.ts";
import { runKvColumns, runKvProtect, runKvWindow, WindowWord } from "./window.ts";
import { SCORE_MAX } from "../ops/backend.ts";

type Operation = (machine: Machine, words: Uint32Array) => void;

/** Numbered operations, the same for every thread. */
const OPERATIONS = {
  embed: runEmbed,
  gatherRows: runGatherRows,
  scatterRows: runScatterRows,
  rmsNorm: (machine, w) => runNorm("rms", machine, w, floatOf(w[NormWord.eps])),
  layerNorm: (machine, w) => runNorm("layer", machine, w, floatOf(w[NormWord.eps])),
  quantiseRows: runQuantiseRows,
  matmul: runMatmul,
  gated: runGated,
  ropeWriteKv: runRopeWriteKv,
  pagedAttention: (machine, w) => runPagedAttention(machine, w, floatOf(w[PagedWord.scale])),
  segmentAttention: (machine, w) => runSegmentAttention(machine, w, floatOf(w[SegmentWord.scale])),
  patchify: runPatchify,
  visionEmbed: runVisionEmbed,
  sample: runSample,
  keepQueries: runKeepQueries,
  keepMoments: runKeepMoments,
  keepColumns: (machine, w) => runKeepColumns(machine, w, floatOf(w[KeptWord.scale])),
  kvNorm: runKvNorm,
  kvKeyDiff: runKvKeyDiff,
  kvLag: runKvLag,
  kvWindow: (machine, w) => runKvWindow(machine, w, floatOf(w[WindowWord.scale])),
  kvProtect: runKvProtect,
  kvExpected: (machine, w) => {
    const scale = floatOf(w[ExpectedWord.scale]), epsilon = floatOf(w[ExpectedWord.epsilon]);
    runKvExpected(machine, w, scale, epsilon, SCORE_MAX);
  },
  kvColumns: runKvColumns,
  kvChunk: (machine, w) => runKvChunk(machine, w, SCORE_MAX),
  kvTop: runKvTop,
  kvGather: runKvGather,
  kvMean: runKvMean,
  kvFold: runKvFold,
  kvMerge: runKvMerge,
  kvPack: runKvPack,
  kvUnpack: runKvUnpack,
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;

const NAMES = Object.keys(OPERATIONS) as OperationName[];
const RUNS: readonly Operation[] = NAMES.map((name) => OPERATIONS[name]);
const NUMBERS = new Map(NAMES.map((name, number) => [name, number]));

export class Tape {
  readonly #words: number[] = [];
  #operations = 0;

  /** `sharers` is how many parts the operation has. */
  record(name: OperationName, sharers: number, operands: readonly number[]): void {
    this.#words.push(NUMBERS.get(name)!, sharers, operands.length, ...operands);
    this.#operations++;
  }

  get words(): readonly number[] {
    return this.#words;
  }

  get operations(): number {
    return this.#operations;
  }
}

/**
 * Runs a tape's words as one thread. A part that throws does not keep others waiting: it counts as done, the thread takes
 * further parts without running them, and the error is returned.
 */
export function runTape(machine: Machine, tape: Uint32Array, control: Control): Error | null {
  let failure: Error | null = null;
  for (let at = 0, operation = 0; at < tape.length; operation++) {
    const sharers = tape[at + 1], begin = at + 3, end = begin + tape[at + 2];
    const run = RUNS[tape[at]], words = tape.subarray(begin, end);
    machine.sharers = sharers;
    control.share(operation, sharers, (sharer) => {
      machine.thread = sharer;
      try {
        if (failure === null) run(machine, words);
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
        control.fail();
      }
    });
    at = end;
  }
  return failure;
}

/** Runs a tape's words on this thread alone. */
export function runTapeAlone(machine: Machine, tape: Uint32Array): Error | null {
  machine.sharers = 1;
  machine.thread = 0;
  try {
    for (let at = 0; at < tape.length;) {
      const begin = at + 3, end = begin + tape[at + 2];
      RUNS[tape[at]](machine, tape.subarray(begin, end));
      at = end;
    }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
  return null;
}
