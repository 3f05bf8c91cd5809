/** The networks of a trained compressor of one factor, on the device: groups of slots of a head become one. */
import { assert } from "../../core/assert.ts";
import type { Backend, FoldLayer, FoldNetwork, Linear } from "../../ops/backend.ts";
import { KV_GROUP_WORDS, KV_RAW } from "../../ops/kv.ts";
import { MATRIX_ELEMENT_BYTES } from "../../ops/tensor.ts";
import { widen } from "../../ops/widen.ts";
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  type CompressorKind,
  compressorTensor,
  SPAN_KINDS,
  SPAN_NETWORKS,
  type SpanKind,
} from "../../model/compressor.ts";
import { loadMatrix, loadVector, type StoredTensor, type WeightSource } from "../weights.ts";
import type { Batch, PromptShape } from "./method.ts";
import { keptOfSegments, type LayerFacts, layerFacts, type LearnedFacts, segmentsOf } from "./segments.ts";

/** What of a batch the networks read. */
type LearnedBatch = Pick<Batch, "step" | "pages" | "jobs"> & { readonly prompts: readonly PromptShape[] };

/** Layers of equal factors: one list of groups is right for all of them. */
interface Fold {
  readonly facts: LayerFacts;
  /** Kinds of spans that become shorter there, in the order in which groups name their networks. */
  readonly kinds: readonly SpanKind[];
  readonly layers: readonly FoldLayer[];
}

export class LearnedNetworks {
  readonly facts: LearnedFacts;
  readonly #folds: readonly Fold[];
  readonly #layers: number;

  /** Loads the weights of one factor. */
  constructor(backend: Backend, compressor: Compressor, layers: number) {
    const { factor, minGroups, factors, tensors } = compressor;
    this.facts = { factor, minGroups, factors };
    this.#layers = layers;
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
    const all = Array.from({ length: layers }, (_, layer) => layer);
    const alike = Map.groupBy(all, (layer) => SPAN_KINDS.map((kind) => factors[kind][layer]).join(" "));
    this.#folds = [...alike.values()].map((own) => {
      const facts = layerFacts(this.facts, own[0]), kinds = SPAN_KINDS.filter((kind) => facts[kind] > 1);
      const networks = (layer: number) =>
        kinds.map((kind) => {
          const [keys, values] = SPAN_NETWORKS[kind].map((of) => network(of, layer));
          return { keys, values };
        });
      return { facts, kinds, layers: own.map((layer) => ({ layer, networks: networks(layer) })) };
    });
  }

  /** Records a batch. Job j is layer j mod layers of prompt j / layers. */
  record({ step, pages, jobs, prompts }: LearnedBatch): void {
    assert(jobs.jobs === prompts.length * this.#layers, "every layer of a prompt is a job");
    for (const fold of this.#folds) {
      const groups = step.indices(this.#groups(prompts, fold));
      step.kvFold({ pages, jobs, groups, layers: fold.layers });
    }
  }

  /** Where each slot that remains comes from, prompt after prompt. */
  #groups(prompts: readonly PromptShape[], { facts, kinds }: Fold): Uint32Array {
    const segments = prompts.map(({ slots, images }) => {
      assert(slots.every((count) => count === slots[0]), "every layer stores the prompt");
      return segmentsOf(slots[0], images, facts);
    });
    const groups = new Uint32Array(KV_GROUP_WORDS * keptOfSegments(segments.flat()));
    let at = 0;
    for (const [index, list] of segments.entries()) {
      let target = 0;
      const put = (slot: number, networks: number) => {
        groups[at++] = index * this.#layers;
        groups[at++] = slot;
        groups[at++] = target++;
        groups[at++] = networks;
      };
      for (const { kind, first, slots, groups: made, factor } of list) {
        const networks = kinds.indexOf(kind);
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
