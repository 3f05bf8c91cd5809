/**
 * A recorded step: operations one after the other in shared memory, [operation, words, …words]. Every thread runs the
 * whole tape, takes its share of each operation and meets the others before the next.
 */
import { PagedWord, runPagedAttention, runSegmentAttention, SegmentWord } from "./attention.ts";
import { runKvChunk, runKvGather, runKvKeyDiff, runKvMean, runKvNorm, runKvTop } from "./compression.ts";
import { ExpectedWord, runKvExpected } from "./expected.ts";
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

  record(name: OperationName, operands: readonly number[]): void {
    this.#words.push(NUMBERS.get(name)!, operands.length, ...operands);
  }

  get words(): readonly number[] {
    return this.#words;
  }
}

/**
 * Runs a tape's words as one thread; `meet` returns when every thread has finished the operation before. An operation
 * that throws does not keep the others waiting: the thread goes on meeting them, and the error is returned.
 */
export function runTape(machine: Machine, tape: Uint32Array, meet: () => void): Error | null {
  let failure: Error | null = null;
  for (let at = 0; at < tape.length;) {
    const count = tape[at + 1];
    try {
      if (failure === null) RUNS[tape[at]](machine, tape.subarray(at + 2, at + 2 + count));
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    at += 2 + count;
    meet();
  }
  return failure;
}
