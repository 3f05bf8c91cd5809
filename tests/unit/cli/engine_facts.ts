/** An engine with a small pool. */
import type { EngineFacts } from "../../../lib/engine/engine.ts";

export const ENGINE_FACTS: EngineFacts = {
  backend: "webgpu",
  adapter: "llvmpipe",
  software: true,
  features: [],
  layers: 5,
  shape: { heads: 8, kvHeads: 4, headDim: 32 },
  vocabSize: 1024,
  kvDtype: "f16",
  pageBytes: 8192,
  pageSlots: 16,
  pageCount: 1024,
  embeddingRows: 0,
  stepTokensMax: 4096,
  compressors: [],
  loadMs: {},
};
