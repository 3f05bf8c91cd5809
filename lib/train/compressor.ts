/** A compressor in training: shortens spans of given keys and values, and takes gradients back to its networks. */
import { layerFacts, type LearnedFacts, segmentsOf } from "../engine/compress/segments.ts";
import type { TextConfig } from "../model/config.ts";
import { type CompressorKind, SPAN_KINDS, SPAN_NETWORKS, type SpanKind } from "../model/compressor.ts";
import { Network, type NetworkTape } from "./network.ts";
import type { Parameter } from "./parameter.ts";
import { type Cache, emptyCache, type Group, type LayerPlan, planSpans, slotsIn, type Span } from "./span.ts";

type Shape = Pick<TextConfig, "layers" | "kvHeads" | "headDim">;
type Part = "keys" | "values";
const PARTS: readonly Part[] = ["keys", "values"];

/** One network and what it is for. */
interface Trained {
  readonly kind: CompressorKind;
  readonly of: SpanKind;
  readonly part: Part;
  readonly layer: number;
  readonly network: Network;
}

/** What one shortening leaves for the way back. */
export interface Shortened {
  readonly caches: readonly Cache[];
  readonly runs: readonly {
    readonly trained: Trained;
    readonly groups: readonly Group[];
    readonly tape: NetworkTape;
  }[];
}

export class TrainedCompressor {
  /** By kind and layer; layers that leave a kind of span as it is have none of it. */
  readonly #networks: readonly Trained[];

  constructor(readonly shape: Shape, readonly facts: LearnedFacts) {
    this.#networks = SPAN_KINDS.flatMap((of) =>
      SPAN_NETWORKS[of].flatMap((kind, index) =>
        facts.factors[of].flatMap((factor, layer) =>
          factor === 1 ? [] : [{
            ...{ kind, of, part: PARTS[index], layer },
            network: new Network(kind, layer, factor, shape.headDim),
          }]
        )
      )
    );
  }

  get parameters(): Parameter[] {
    return this.#networks.flatMap(({ network }) => network.parameters);
  }

  /** Starts every network as the mean, lifted by `lift` times the mean size of what it will see in `spans`. */
  startAsMean(spans: readonly Span[], lift: number): void {
    const plans = this.#plans(spans), { headDim } = this.shape;
    for (const trained of this.#networks) {
      const groups = plans[trained.layer][trained.of], shift = new Float32Array(headDim).fill(1);
      if (groups.length >= this.facts.minGroups) {
        const x = this.#gather(spans, groups, trained);
        shift.fill(0);
        for (let at = 0; at < x.length; at++) {
          shift[at % headDim] += lift * Math.abs(x[at]) * headDim / x.length;
        }
      }
      trained.network.startAsMean(shift);
    }
  }

  shorten(spans: readonly Span[]): Shortened {
    const { kvHeads, headDim } = this.shape, plans = this.#plans(spans);
    const caches = spans.map((_, i) =>
      emptyCache(plans.map(({ spans }) => spans[i].kept), kvHeads * headDim)
    );
    for (const [i, span] of spans.entries()) this.#copyRaw(span, caches[i], plans, i);
    const runs = this.#networks.flatMap((trained) => {
      const { of, part, layer, network } = trained, groups = plans[layer][of];
      if (groups.length === 0) return [];
      const tape = network.forward(this.#gather(spans, groups, trained));
      this.#eachRow(groups, caches, layer, (at, span, to) => {
        caches[span][part][layer].set(tape.out.subarray(at, at + headDim), to);
      });
      return [{ trained, groups, tape }];
    });
    return { caches, runs };
  }

  /** Adds the parameters' gradients; `gradients` are those of the shortened caches. */
  backward({ runs }: Shortened, gradients: readonly Cache[]): void {
    const { kvHeads, headDim } = this.shape;
    for (const { trained: { network, part, layer }, groups, tape } of runs) {
      const dy = new Float32Array(groups.length * kvHeads * headDim);
      this.#eachRow(groups, gradients, layer, (at, span, from) => {
        dy.set(gradients[span][part][layer].subarray(from, from + headDim), at);
      });
      network.backward(tape, dy);
    }
  }

  /** By layer. */
  #plans(spans: readonly Span[]): LayerPlan[] {
    return Array.from({ length: this.shape.layers }, (_, layer) => {
      const facts = layerFacts(this.facts, layer);
      return planSpans(spans.map(({ slots, images }) => segmentsOf(slots, images, facts)));
    });
  }

  /** Rows [groups · kvHeads, factor · headDim] of one layer's keys or values. */
  #gather(
    spans: readonly Span[],
    groups: readonly Group[],
    { network, part, layer }: Trained,
  ): Float32Array {
    const { kvHeads, headDim } = this.shape, width = network.factor * headDim;
    const x = new Float32Array(groups.length * kvHeads * width);
    for (const [g, { span, source }] of groups.entries()) {
      const from = spans[span][part][layer];
      for (let head = 0; head < kvHeads; head++) {
        const at = (head * spans[span].slots + source) * headDim;
        x.set(from.subarray(at, at + width), (g * kvHeads + head) * width);
      }
    }
    return x;
  }

  /** Visits the row of each group and head: its place among rows, its span and its place in the layer's short cache. */
  #eachRow(
    groups: readonly Group[],
    caches: readonly Cache[],
    layer: number,
    visit: (row: number, span: number, place: number) => void,
  ): void {
    const { kvHeads, headDim } = this.shape;
    for (const [g, { span, target }] of groups.entries()) {
      const slots = slotsIn(caches[span], layer, kvHeads * headDim);
      for (let head = 0; head < kvHeads; head++) {
        visit((g * kvHeads + head) * headDim, span, (head * slots + target) * headDim);
      }
    }
  }

  #copyRaw(span: Span, cache: Cache, plans: readonly LayerPlan[], index: number): void {
    const { kvHeads, headDim } = this.shape;
    for (const [layer, { spans }] of plans.entries()) {
      const { kept, raw } = spans[index];
      for (const part of PARTS) {
        for (let head = 0; head < kvHeads; head++) {
          for (const [source, target] of raw) {
            const at = (head * span.slots + source) * headDim;
            const row = span[part][layer].subarray(at, at + headDim);
            cache[part][layer].set(row, (head * kept + target) * headDim);
          }
        }
      }
    }
  }
}
