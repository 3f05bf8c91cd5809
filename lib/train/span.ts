/** Keys and values of a stretch of slots, and how a compressor shortens them. */
import type { SpanKind } from "../model/compressor.ts";
import type { ImageSpan } from "../engine/compress/method.ts";
import type { Segment } from "../engine/compress/segments.ts";

/** Per layer [kvHeads, slots, headDim]: a short cache has fewer slots in one layer than in another. */
export interface Cache {
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
}

/** A stretch of a prompt that begins and ends where segments do, as many slots in every layer. */
export interface Span extends Cache {
  readonly slots: number;
  readonly images: readonly ImageSpan[];
}

/** So many slots in each layer, `width` = kvHeads · headDim numbers a slot. */
export function emptyCache(slots: readonly number[], width: number): Cache {
  const make = () => slots.map((count) => new Float32Array(count * width));
  return { keys: make(), values: make() };
}

/** A cache's slots in a layer. */
export function slotsIn({ keys }: Cache, layer: number, width: number): number {
  return keys[layer].length / width;
}

/** One group of a batch of spans: f slots from `source` on become slot `target`. */
export interface Group {
  readonly span: number;
  readonly source: number;
  readonly target: number;
}

/** Where the slots of a shortened span come from, in one layer. */
export interface SpanPlan {
  readonly kept: number;
  /** Pairs of slots that stay as they are: source, target. */
  readonly raw: readonly (readonly [source: number, target: number])[];
}

/** One layer of a batch of spans: groups by kind, and what stays. */
export interface LayerPlan extends Readonly<Record<SpanKind, readonly Group[]>> {
  readonly spans: readonly SpanPlan[];
}

/** Plans one layer of a batch of spans. */
export function planSpans(segments: readonly (readonly Segment[])[]): LayerPlan {
  const groups = { text: [] as Group[], image: [] as Group[] };
  const spans = segments.map((list, span) => {
    const raw: [number, number][] = [];
    let target = 0;
    for (const { kind, first, slots, groups: count, factor } of list) {
      for (let g = 0; g < count; g++) {
        groups[kind].push({ span, source: first + g * factor, target: target++ });
      }
      for (let slot = first + count * factor; slot < first + slots; slot++) raw.push([slot, target++]);
    }
    return { kept: target, raw };
  });
  return { spans, ...groups };
}
