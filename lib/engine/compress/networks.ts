/** The networks of a trained compressor of one factor, on the device: groups of f slots of a head become one. */
import { assert } from "../../core/assert.ts";
import type { Backend, Step } from "../../ops/backend.ts";
import { KV_GROUP_WORDS, type KvPart } from "../../ops/kv.ts";
import type { Matrix, Tensor } from "../../ops/tensor.ts";
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  type CompressorKind,
  compressorTensor,
  kindsOf,
} from "../../model/compressor.ts";
import { loadMatrix, loadVector, type WeightSource } from "../weights.ts";
import type { Batch, PromptShape } from "./method.ts";
import { keptOfSegment, type LearnedFacts, segmentsOf } from "./segments.ts";

/** Rows of one product at most: as many as a forward step has tokens. */
const ROWS_MAX = 4096;

interface Linear {
  readonly weight: Matrix;
  readonly bias: Tensor;
}

/** The kinds of a segment's networks. */
const NETWORKS: Readonly<Record<"text" | "image", readonly [CompressorKind, KvPart][]>> = {
  text: [["tk", "key"], ["tv", "value"]],
  image: [["ik", "key"], ["iv", "value"]],
};

/** What of a batch the networks read. */
type LearnedBatch = Pick<Batch, "step" | "pages" | "jobs"> & { readonly prompts: readonly PromptShape[] };

export class LearnedNetworks {
  readonly facts: LearnedFacts;
  readonly #layers: number;
  /** By kind: three linear layers of each layer of the model. */
  readonly #networks: ReadonlyMap<CompressorKind, readonly (readonly Linear[])[]>;

  /** Loads the weights of one factor. */
  constructor(backend: Backend, compressor: Compressor, layers: number) {
    const { factor, minGroups, images, tensors } = compressor;
    this.facts = { factor, minGroups, images };
    this.#layers = layers;
    const source: WeightSource = {
      has: (name) => tensors.has(name),
      tensor(name) {
        const tensor = tensors.get(name);
        assert(tensor !== undefined, `a compressor that was opened has ${name}`);
        return tensor;
      },
    };
    const linear = (kind: CompressorKind, layer: number) => (index: number): Linear => ({
      weight: loadMatrix(backend, source, [compressorTensor(kind, layer, index, "weight")]),
      bias: loadVector(backend, source, [compressorTensor(kind, layer, index, "bias")]),
    });
    this.#networks = new Map(
      kindsOf(compressor).map((kind) => [
        kind,
        Array.from({ length: layers }, (_, layer) => COMPRESSOR_LINEARS.map(linear(kind, layer))),
      ]),
    );
  }

  /** Records a batch. Job j is layer j mod layers of prompt j / layers. */
  record({ step, pages, jobs, prompts }: LearnedBatch): void {
    const { kvHeads } = pages.shape;
    assert(jobs.jobs === prompts.length * this.#layers, "every layer of a prompt is a job");
    const plan = this.#plan(prompts, kvHeads, jobs.keptMax);
    const kept = step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, plan.kept);
    step.kvGather({ pages, jobs, kept });
    step.release(kept);
    for (const kind of ["text", "image"] as const) {
      for (const groups of cut(plan[kind], Math.floor(ROWS_MAX / kvHeads))) {
        const indices = step.indices(groups);
        for (let layer = 0; layer < this.#layers; layer++) {
          for (const [network, part] of NETWORKS[kind]) {
            const rows = groups.length / KV_GROUP_WORDS * kvHeads;
            const read = step.tensor(rows, this.facts.factor * pages.shape.headDim);
            step.kvReadRows({ pages, jobs, groups: indices, layer, part, out: read });
            const x = this.#run(step, this.#networks.get(network)![layer], read);
            step.kvWriteRows({ pages, jobs, groups: indices, layer, part, x });
            step.release(x);
          }
        }
      }
    }
  }

  /** Where each slot comes from. A group's target first holds a copy of the group's first slot. */
  #plan(
    prompts: readonly PromptShape[],
    kvHeads: number,
    keptMax: number,
  ): { kept: Uint32Array; text: readonly number[]; image: readonly number[] } {
    const rowsOfPrompt = this.#layers * kvHeads;
    const kept = new Uint32Array(prompts.length * rowsOfPrompt * keptMax);
    const groups = { text: [] as number[], image: [] as number[] };
    for (const [index, prompt] of prompts.entries()) {
      const { slots, images } = prompt, row: number[] = [];
      assert(slots.every((count) => count === slots[0]), "every layer stores the prompt");
      for (const segment of segmentsOf(slots[0], images, this.facts)) {
        const { factor } = this.facts;
        for (let i = 0; i < keptOfSegment(segment, factor); i++) {
          const source = segment.first +
            (i < segment.groups ? i * factor : segment.groups * (factor - 1) + i);
          if (i < segment.groups) groups[segment.kind].push(index * this.#layers, source, row.length);
          row.push(source);
        }
      }
      for (let head = 0; head < rowsOfPrompt; head++) {
        kept.set(row, (index * rowsOfPrompt + head) * keptMax);
      }
    }
    return { kept, ...groups };
  }

  /** Three linear layers with ReLU between them. `x` is released. */
  #run(step: Step, linears: readonly Linear[], x: Tensor): Tensor {
    let from = x;
    for (const [index, { weight, bias }] of linears.entries()) {
      const out = step.tensor(from.rows, weight.rows);
      const activation = index < linears.length - 1 ? "relu" : "none";
      step.matmul({ x: from, weight, bias, activation, out });
      step.release(from);
      from = out;
    }
    return from;
  }
}

/** Groups in pieces of at most `most` groups. */
function cut(words: readonly number[], most: number): Uint32Array[] {
  const size = most * KV_GROUP_WORDS;
  return Array.from(
    { length: Math.ceil(words.length / size) },
    (_, i) => Uint32Array.from(words.slice(i * size, (i + 1) * size)),
  );
}
