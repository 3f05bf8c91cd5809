/** A prompt as a learned compressor sees it: spans of pictures and of text, each compressed by itself. */
import { assert } from "../../core/assert.ts";
import type { SpanFactors, SpanKind } from "../../model/compressor.ts";
import type { ImageSpan } from "./method.ts";

/** What a learned compressor does to a prompt, known without its weights. */
export interface LearnedFacts {
  /** What requests name. */
  readonly factor: number;
  /** A segment that makes fewer groups than this stays as it is. */
  readonly minGroups: number;
  readonly factors: SpanFactors;
}

/** What a learned compressor does in one layer: slots that become one, by kind of span, and the least number of groups. */
export type LayerFacts = Readonly<Record<SpanKind, number>> & Pick<LearnedFacts, "minGroups">;

/** A maximal span of one kind: `groups` groups of `factor` slots become one each, the slots behind them stay as they are. */
export interface Segment {
  readonly kind: SpanKind;
  readonly first: number;
  readonly slots: number;
  readonly groups: number;
  readonly factor: number;
}

export function layerFacts({ minGroups, factors: { text, image } }: LearnedFacts, layer: number): LayerFacts {
  assert(layer < text.length && layer < image.length, "what was trained has the model's layers");
  return { text: text[layer], image: image[layer], minGroups };
}

/** The segments of a prompt of `slots` tokens, in order. `images` ascend and do not overlap; neighbours are one span. */
export function segmentsOf(slots: number, images: readonly ImageSpan[], facts: LayerFacts): Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  const close = (kind: SpanKind, end: number) => {
    if (end === at) return;
    const factor = facts[kind], groups = Math.floor((end - at) / factor);
    const compressed = factor > 1 && groups >= facts.minGroups;
    segments.push({ kind, first: at, slots: end - at, groups: compressed ? groups : 0, factor });
    at = end;
  };
  for (let i = 0; i < images.length; i++) {
    const { first, count } = images[i];
    assert(first >= at, "pictures follow each other");
    close("text", first);
    let end = first + count;
    while (images[i + 1]?.first === end) end += images[++i].count;
    assert(end <= slots, "pictures lie in the prompt");
    close("image", end);
  }
  close("text", slots);
  return segments;
}

/** Slots that remain of segments. */
export function keptOfSegments(segments: readonly Segment[]): number {
  return segments.reduce((sum, { slots, groups, factor }) => sum + slots - groups * (factor - 1), 0);
}

/** Slots that remain of a prompt in one layer. */
export function keptByLearned(slots: number, images: readonly ImageSpan[], facts: LayerFacts): number {
  return keptOfSegments(segmentsOf(slots, images, facts));
}
