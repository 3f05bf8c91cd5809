/** How much memory the engine takes for what, decided once at load from the model and the device. */
import { PAGE_SLOTS_F16 } from "../core/limits.ts";
import { StartError } from "../core/errors.ts";
import type { Capabilities } from "../ops/backend.ts";
import { KV_ELEMENT_BYTES, type KvDtype, type KvShape } from "../ops/kv.ts";
import type { ModelConfig } from "../model/config.ts";
import { Decoder } from "./decoder.ts";

/** Tokens of one forward step at most: long enough to fill any device, short enough to bound scratch. */
const STEP_TOKENS_MAX = 4096;
/** The KV pool a server takes by itself: every sequence at full length, but no more than this. */
const KV_BYTES_DEFAULT = 2 * 1024 ** 3;
const KV_BYTES_DEFAULT_SOFTWARE = 512 * 1024 ** 2;

export interface SizingOptions {
  readonly kvDtype: KvDtype;
  /** Bytes of the KV pool, null to choose. */
  readonly kvBytes: number | null;
  readonly maxNumSeqs: number;
  readonly maxModelLen: number | null;
  /** Bytes of picture features to keep; absent: no more than running requests need. */
  readonly imageCacheBytes?: number;
}

export interface Sizing {
  readonly kv: KvShape;
  readonly stepTokensMax: number;
  readonly embeddingRows: number;
}

/** Throws StartError, with the arithmetic, when the pool cannot hold even one page a layer or exceeds the device. */
export function decideSizing(
  config: ModelConfig,
  capabilities: Capabilities,
  options: SizingOptions,
): Sizing {
  const { text } = config;
  // K and V of one token of one layer.
  const elements = 2 * text.kvHeads * text.headDim;
  const pageBytes = PAGE_SLOTS_F16 * elements * KV_ELEMENT_BYTES.f16;
  const pageSlots = pageBytes / (elements * KV_ELEMENT_BYTES[options.kvDtype]);
  const length = Math.min(options.maxModelLen ?? text.maxPositions, text.maxPositions);
  const fullLength = Math.ceil(length / pageSlots) * text.layers * pageBytes;
  const ceiling = capabilities.software ? KV_BYTES_DEFAULT_SOFTWARE : KV_BYTES_DEFAULT;
  const chosen = Math.min(
    capabilities.kvBytesMax,
    Math.max(fullLength, Math.min(ceiling, options.maxNumSeqs * fullLength)),
  );
  const bytes = options.kvBytes ?? chosen;
  if (bytes > capabilities.kvBytesMax) {
    throw new StartError(
      `--kv-memory ${bytes} is more than this adapter can address for the KV pool: ${capabilities.kvBytesMax} bytes at most`,
    );
  }
  const pageCount = Math.floor(bytes / pageBytes);
  if (pageCount < text.layers) {
    throw new StartError(
      `--kv-memory ${bytes} is too small: one page of ${pageBytes} bytes for each of ${text.layers} layers needs ${
        pageBytes * text.layers
      } bytes`,
    );
  }
  const tensorElements = Math.floor(capabilities.tensorBytesMax / 4);
  const stepTokensMax = Math.min(STEP_TOKENS_MAX, Math.floor(tensorElements / Decoder.widestRow(text)));
  return {
    kv: {
      dtype: options.kvDtype,
      kvHeads: text.kvHeads,
      headDim: text.headDim,
      pageBytes,
      pageSlots,
      pageCount,
    },
    stepTokensMax,
    embeddingRows: config.vision === null ? 0 : Math.min(
      Math.floor(tensorElements / text.hidden),
      Math.max(
        2 * length,
        16 * config.vision.imageTokens,
        Math.floor((options.imageCacheBytes ?? 0) / (4 * text.hidden)),
      ),
    ),
  };
}
