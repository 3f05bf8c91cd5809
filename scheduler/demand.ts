/** Pages that a sequence is expected to hold at its fullest moment from now on. */
import type { PoolShape } from "../pool/mod.ts";
import type { OutputLength } from "./output_length.ts";
import { copyPages, pagesAfter, uniformPages } from "./room.ts";
import type { Sequence } from "./sequence.ts";

export function expectedPages(sequence: Sequence, shape: PoolShape, output: OutputLength): number {
  const { prompt, compressionPoint: point } = sequence;
  const stored = prompt.ids.length + output.expected(sequence.sampled, prompt.maxTokens) - 1;
  if (point === null) return uniformPages(shape, stored);
  const later = Math.max(0, stored - point.atTokens);
  const last = pagesAfter(shape, point.kept, later, point.packing);
  if (sequence.compressed) return last;
  return Math.max(
    last,
    uniformPages(shape, point.atTokens) + prompt.keepPages + copyPages(shape, point.kept, point.packing),
  );
}

/** Pages that its next token takes: none while every layer's last page has room. */
export function growthPages({ pages, slots }: Sequence, { pageSlots }: PoolShape): number {
  if (pages === null) return 0;
  const { packed, table: { tables } } = pages;
  let count = 0;
  for (let layer = 0; layer < slots.length; layer++) {
    if (slots[layer] - (packed?.slots[layer] ?? 0) >= tables[layer].length * pageSlots) count++;
  }
  return count;
}
