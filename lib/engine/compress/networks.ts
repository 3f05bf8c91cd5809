/** The networks of a trained compressor of one factor, on the device: groups of f slots of a head become one. */
import { assert } from "../../core/assert.ts";
import type { Backend, FoldNetwork, FoldNetworks, Linear } from "../../ops/backend.ts";
import { KV_GROUP_WORDS, KV_RAW } from "../../ops/kv.ts";
import { MATRIX_ELEMENT_BYTES } from "../../ops/tensor.ts";
import { widen } from "../../ops/widen.ts";
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  type CompressorKind,
  compressorTensor,
} from "../../model/compressor.ts";
import { loadMatrix, loadVector, type StoredTensor, type WeightSource } from "../weights.ts";
import type { Batch, PromptShape } from "./method.ts";
import { keptOfSegment, type LearnedFacts, type Segment, segmentsOf } from "./segments.ts";

/** Kinds of segments in the order in which groups name their networks, those of pictures last: they may be missing. */
const SEGMENT_KINDS = ["text", "image"] as const;
/** Networks of a kind of segment: of its keys and of its values. */
const KINDS: Readonly<Record<Segment["kind"], readonly [CompressorKind, CompressorKind]>> = {
  text: ["tk", "tv"],
  image: ["ik", "iv"],
};

/** What of a batch the networks read. */
type LearnedBatch = Pick<Batch, "step" | "pages" | "jobs"> & { readonly prompts: readonly PromptShape[] };

export class LearnedNetworks {
  readonly facts: LearnedFacts;
  /** By layer of the model and kind of segment. */
  readonly #layers: readonly (readonly FoldNetworks[])[];

  /** Loads the weights of one factor. */
  constructor(backend: Backend, compressor: Compressor, layers: number) {
    const { factor, minGroups, images, tensors } = compressor;
    this.facts = { factor, minGroups, images };
    const source: WeightSource = {
      has: (name) => tensors.has(name),
      tensor(name) {
        const tensor = tensors.get(name);
        assert(tensor !== undefined, `a compressor that was opened has ${name}`);
        return widened(tensor);
      },
    };
    const linear = (kind: CompressorKind, layer: number) => (index: number): Linear => ({
      weight: loadMatrix(backend, source, [compressorTensor(kind, layer, index, "weight")]),
      bias: loadVector(backend, source, [compressorTensor(kind, layer, index, "bias")]),
    });
    const network = (kind: CompressorKind, layer: number): FoldNetwork => {
      const [first, second, third] = COMPRESSOR_LINEARS.map(linear(kind, layer));
      return [first, second, third];
    };
    const kinds = SEGMENT_KINDS.filter((kind) => kind === "text" || images);
    this.#layers = Array.from({ length: layers }, (_, layer) =>
      kinds.map((kind) => {
        const [keys, values] = KINDS[kind].map((of) => network(of, layer));
        return { keys, values };
      }));
  }

  /** Records a batch. Job j is layer j mod layers of prompt j / layers. */
  record({ step, pages, jobs, prompts }: LearnedBatch): void {
    const layers = this.#layers, { factor } = this.facts;
    assert(jobs.jobs === prompts.length * layers.length, "every layer of a prompt is a job");
    step.kvFold({ pages, jobs, groups: step.indices(this.#groups(prompts)), factor, layers });
  }

  /** Where each slot that remains comes from, prompt after prompt. */
  #groups(prompts: readonly PromptShape[]): Uint32Array {
    const { factor } = this.facts;
    const segments = prompts.map(({ slots, images }) => {
      assert(slots.every((count) => count === slots[0]), "every layer stores the prompt");
      return segmentsOf(slots[0], images, this.facts);
    });
    const kept = segments.flat().reduce((sum, segment) => sum + keptOfSegment(segment, factor), 0);
    const groups = new Uint32Array(KV_GROUP_WORDS * kept);
    let at = 0;
    for (const [index, list] of segments.entries()) {
      let target = 0;
      const put = (slot: number, networks: number) => {
        groups[at++] = index * this.#layers.length;
        groups[at++] = slot;
        groups[at++] = target++;
        groups[at++] = networks;
      };
      for (const { kind, first, slots, groups: made } of list) {
        const networks = SEGMENT_KINDS.indexOf(kind);
        for (let group = 0; group < made; group++) put(first + group * factor, networks);
        for (let slot = first + made * factor; slot < first + slots; slot++) put(slot, KV_RAW);
      }
    }
    return groups;
  }
}

/** The same tensor in f32: networks are small, and folded from where they lie. */
function widened(tensor: StoredTensor): StoredTensor {
  const { dtype, shape } = tensor, size = MATRIX_ELEMENT_BYTES[dtype];
  if (dtype === "f32") return tensor;
  const read = (first: number, bytes: number) =>
    new Uint8Array(widen(dtype, tensor.read(first / 4 * size, bytes / 4 * size)).buffer);
  return { dtype: "f32", shape, read };
}
