/** `usage` of an answer: what was read, what was written, and what compression kept of the prompt. */
import type { CompressionUsage } from "../../scheduler/messages.ts";

/** `method`, `ratio` or `budget`, and `quantize` are what was done, in the words of a request. */
function compressionUsage(compression: CompressionUsage) {
  const { quantise } = compression;
  return {
    method: compression.method,
    ...compression.size,
    quantize: quantise === null ? null : `int${quantise.bits}`,
    reason: compression.reason,
    prompt_tokens: compression.promptTokens,
    stored_tokens: compression.storedTokens,
    kept_tokens: compression.keptTokens,
    bytes_before: compression.bytesBefore,
    bytes_after: compression.bytesAfter,
  };
}

/** Prompt tokens are counted before compression; pictures count with the tokens that stand for them. */
export function usage(
  promptTokenIds: readonly number[],
  imageTokenId: number | null,
  completionTokens: number,
  cachedTokens: number,
  compression: CompressionUsage | null,
) {
  let imageTokens = 0;
  for (const id of promptTokenIds) if (id === imageTokenId) imageTokens++;
  return {
    prompt_tokens: promptTokenIds.length,
    completion_tokens: completionTokens,
    total_tokens: promptTokenIds.length + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens, image_tokens: imageTokens },
    ...(compression === null ? {} : { kv_compression: compressionUsage(compression) }),
  };
}
