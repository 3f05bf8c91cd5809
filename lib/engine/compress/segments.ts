/** A prompt as a learned compressor sees it: spans of pictures and of text, each compressed by itself. */
import { assert } from "../../core/assert.ts";
import type { ImageSpan } from "./method.ts";

/** What a learned compressor does to a prompt, known without its weights. */
export interface LearnedFacts {
  /** Tokens that become one. */
  readonly factor: number;
  /** A segment that makes fewer groups than this stays as it is. */
  readonly minGroups: number;
  /** False: pictures stay as they are. */
  readonly images: boolean;
}

/** A maximal span of one kind: `groups` groups of f slots become one each, the slots behind them stay as they are. */
export interface Segment {
  readonly kind: "text" | "image";
  readonly first: number;
  readonly slots: number;
  readonly groups: number;
}

/** The segments of a prompt of `slots` tokens, in order. `images` ascend and do not overlap; neighbours are one span. */
export function segmentsOf(slots: number, images: readonly ImageSpan[], facts: LearnedFacts): Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  const close = (kind: Segment["kind"], end: number) => {
    if (end === at) return;
    const groups = Math.floor((end - at) / facts.factor);
    const compressed = groups >= facts.minGroups && (kind === "text" || facts.images);
    segments.push({ kind, first: at, slots: end - at, groups: compressed ? groups : 0 });
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

/** Slots that remain of a segment. */
export function keptOfSegment({ slots, groups }: Segment, factor: number): number {
  return slots - groups * (factor - 1);
}

/** Slots that remain of a prompt. */
export function keptByLearned(slots: number, images: readonly ImageSpan[], facts: LearnedFacts): number {
  return segmentsOf(slots, images, facts).reduce(
    (sum, segment) => sum + keptOfSegment(segment, facts.factor),
    0,
  );
}
