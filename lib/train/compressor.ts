/** A compressor in training: shortens spans of given keys and values, and takes gradients back to its networks. */
import { type LearnedFacts, segmentsOf } from "../engine/compress/segments.ts";
import type { TextConfig } from "../model/config.ts";
import { COMPRESSOR_KINDS, type CompressorKind } from "../model/compressor.ts";
import { Network, type NetworkTape } from "./network.ts";
import type { Parameter } from "./parameter.ts";
import { type Cache, emptyCache, type Group, planSpans, type Span, type SpanPlan } from "./span.ts";

type Shape = Pick<TextConfig, "layers" | "kvHeads" | "headDim">;
type Part = "keys" | "values";

const NETWORKS: readonly (readonly [CompressorKind, "text" | "image", Part])[] = [
  ["tk", "text", "keys"],
  ["tv", "text", "values"],
  ["ik", "image", "keys"],
  ["iv", "image", "values"],
];

/** What one shortening leaves for the way back. */
export interface Shortened {
  readonly caches: readonly Cache[];
  readonly runs: readonly {
    readonly network: Network;
    readonly part: Part;
    readonly layer: number;
    readonly groups: readonly Group[];
    readonly tape: NetworkTape;
  }[];
}

export class TrainedCompressor {
  /** By kind, one a layer. */
  readonly networks: Readonly<Record<CompressorKind, readonly Network[]>>;

  constructor(readonly shape: Shape, readonly facts: LearnedFacts) {
    const { layers, headDim } = shape;
    this.networks = Object.fromEntries(COMPRESSOR_KINDS.map((kind) => [
      kind,
      Array.from({ length: layers }, (_, layer) => new Network(kind, layer, facts.factor, headDim)),
    ])) as Record<CompressorKind, Network[]>;
  }

  get parameters(): Parameter[] {
    return COMPRESSOR_KINDS.flatMap((kind) => this.networks[kind].flatMap(({ parameters }) => parameters));
  }

  /** Starts every network as the mean, lifted by `lift` times the mean size of what it will see in `spans`. */
  startAsMean(spans: readonly Span[], lift: number): void {
    const { factor, minGroups } = this.facts;
    const plan = planSpans(this.#segments(spans), factor);
    for (const [kind, of, part] of NETWORKS) {
      for (const [layer, network] of this.networks[kind].entries()) {
        const shift = new Float32Array(this.shape.headDim).fill(1);
        if (plan[of].length >= minGroups) {
          const x = this.#gather(spans, plan[of], part, layer), { headDim } = this.shape;
          shift.fill(0);
          for (let at = 0; at < x.length; at++) {
            shift[at % headDim] += lift * Math.abs(x[at]) * headDim / x.length;
          }
        }
        network.startAsMean(shift);
      }
    }
  }

  shorten(spans: readonly Span[]): Shortened {
    const { layers, kvHeads, headDim } = this.shape;
    const plan = planSpans(this.#segments(spans), this.facts.factor);
    const caches = plan.spans.map(({ kept }) => emptyCache(kept, layers, kvHeads * headDim));
    for (const [i, span] of spans.entries()) this.#copyRaw(span, caches[i], plan.spans[i]);
    const runs = NETWORKS.flatMap(([kind, of, part]) =>
      plan[of].length === 0 ? [] : this.networks[kind].map((network, layer) => {
        const tape = network.forward(this.#gather(spans, plan[of], part, layer));
        this.#eachRow(plan[of], caches, (at, span, to) => {
          caches[span][part][layer].set(tape.out.subarray(at, at + headDim), to);
        });
        return { network, part, layer, groups: plan[of], tape };
      })
    );
    return { caches, runs };
  }

  /** Adds the parameters' gradients; `gradients` are those of the shortened caches. */
  backward({ runs }: Shortened, gradients: readonly Cache[]): void {
    const { kvHeads, headDim } = this.shape;
    for (const { network, part, layer, groups, tape } of runs) {
      const dy = new Float32Array(groups.length * kvHeads * headDim);
      this.#eachRow(groups, gradients, (at, span, from) => {
        dy.set(gradients[span][part][layer].subarray(from, from + headDim), at);
      });
      network.backward(tape, dy);
    }
  }

  #segments(spans: readonly Span[]) {
    return spans.map(({ slots, images }) => segmentsOf(slots, images, this.facts));
  }

  /** Rows [groups · kvHeads, factor · headDim] of one layer's keys or values. */
  #gather(spans: readonly Span[], groups: readonly Group[], part: Part, layer: number): Float32Array {
    const { kvHeads, headDim } = this.shape, width = this.facts.factor * headDim;
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

  /** Visits the row of each group and head: its place among rows, its span and its place in the short cache. */
  #eachRow(
    groups: readonly Group[],
    caches: readonly Cache[],
    visit: (row: number, span: number, place: number) => void,
  ): void {
    const { kvHeads, headDim } = this.shape;
    for (const [g, { span, target }] of groups.entries()) {
      for (let head = 0; head < kvHeads; head++) {
        visit((g * kvHeads + head) * headDim, span, (head * caches[span].slots + target) * headDim);
      }
    }
  }

  #copyRaw(span: Span, cache: Cache, { raw }: SpanPlan): void {
    const { layers, kvHeads, headDim } = this.shape;
    for (const part of ["keys", "values"] as const) {
      for (let layer = 0; layer < layers; layer++) {
        for (let head = 0; head < kvHeads; head++) {
          for (const [source, target] of raw) {
            const at = (head * span.slots + source) * headDim;
            const row = span[part][layer].subarray(at, at + headDim);
            cache[part][layer].set(row, (head * cache.slots + target) * headDim);
          }
        }
      }
    }
  }
}
