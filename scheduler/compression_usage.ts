/** What an answer says of compression: what was done to the cache, or why nothing was. */
import { assert } from "../lib/core/assert.ts";
import type { PoolShape } from "../pool/mod.ts";
import type { CompressionUsage } from "./messages.ts";
import { pagesAfter, uniformPages } from "./room.ts";
import type { Sequence } from "./sequence.ts";

/** Of a sequence that ends; null where nothing was asked for. */
export function compressionUsage(sequence: Sequence, shape: PoolShape): CompressionUsage | null {
  const { compression, ids } = sequence.prompt, promptTokens = ids.length;
  if (compression === null) return null;
  const point = sequence.compressionPoint;
  if (!sequence.compressed) {
    const bytes = uniformPages(shape, promptTokens) * shape.pageBytes;
    return {
      method: "none",
      size: { ratio: 0 },
      quantise: null,
      reason: whyNot(sequence),
      promptTokens,
      storedTokens: promptTokens,
      keptTokens: promptTokens,
      bytesBefore: bytes,
      bytesAfter: bytes,
    };
  }
  assert(point !== null, "a sequence is compressed at its point");
  const { atTokens, kept, packing, reason } = point;
  const removes = kept.some((slots) => slots < atTokens);
  const packs = packing !== null && packing.slots.some((slots) => slots > 0);
  return {
    method: removes ? compression.method : "none",
    size: removes ? compression.size : { ratio: 0 },
    quantise: packs ? compression.quantise : null,
    reason,
    promptTokens,
    storedTokens: atTokens,
    keptTokens: kept.reduce((sum, slots) => sum + slots, 0) / kept.length,
    bytesBefore: uniformPages(shape, atTokens) * shape.pageBytes,
    bytesAfter: pagesAfter(shape, kept, 0, packing) * shape.pageBytes,
  };
}

function whyNot(sequence: Sequence): CompressionUsage["reason"] {
  const { compression, ids } = sequence.prompt;
  assert(compression !== null, "compression was asked for");
  if (sequence.compressionPoint !== null) return "answer_ended";
  const { underPressure, minTokens } = compression;
  if ((underPressure ? sequence.stored : ids.length) < minTokens) return "min_tokens";
  return underPressure && sequence.keptUnderPressure() !== null ? "no_need" : "nothing_to_remove";
}
