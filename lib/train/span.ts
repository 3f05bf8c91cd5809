/** Keys and values of a stretch of slots, and how a compressor shortens them. */
import type { ImageSpan } from "../engine/compress/method.ts";
import type { Segment } from "../engine/compress/segments.ts";

/** Per layer [kvHeads, slots, headDim]. */
export interface Cache {
  readonly slots: number;
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
}

/** A stretch of a prompt that begins and ends where segments do. */
export interface Span extends Cache {
  readonly images: readonly ImageSpan[];
}

export function emptyCache(slots: number, layers: number, width: number): Cache {
  const make = () => Array.from({ length: layers }, () => new Float32Array(slots * width));
  return { slots, keys: make(), values: make() };
}

/** One group of a batch of spans: f slots from `source` on become slot `target`. */
export interface Group {
  readonly span: number;
  readonly source: number;
  readonly target: number;
}

/** Where the slots of a shortened span come from. */
export interface SpanPlan {
  readonly kept: number;
  /** Pairs of slots that stay as they are: source, target. */
  readonly raw: readonly (readonly [source: number, target: number])[];
}

/** Plans a batch of spans: groups by kind, and what stays. */
export function planSpans(
  segments: readonly (readonly Segment[])[],
  factor: number,
): {
  readonly spans: readonly SpanPlan[];
  readonly text: readonly Group[];
  readonly image: readonly Group[];
} {
  const groups = { text: [] as Group[], image: [] as Group[] };
  const spans = segments.map((list, span) => {
    const raw: [number, number][] = [];
    let target = 0;
    for (const { kind, first, slots, groups: count } of list) {
      for (let g = 0; g < count; g++) {
        groups[kind].push({ span, source: first + g * factor, target: target++ });
      }
      for (let slot = first + count * factor; slot < first + slots; slot++) raw.push([slot, target++]);
    }
    return { kept: target, raw };
  });
  return { spans, ...groups };
}
