/** The memory that a model will take on the wasm backend, known before any of it is read or reserved. */
import { StartError } from "../core/errors.ts";
import type { Compressor } from "../model/compressor.ts";
import type { ModelConfig, WeightNames } from "../model/config.ts";
import { requiredTensors } from "../model/weights.ts";
import { MATRIX_ELEMENT_BYTES } from "../ops/tensor.ts";
import { quantisedBytes } from "../wasm/quantised.ts";
import type { WeightStorage } from "./device.ts";
import type { Sizing } from "./sizing.ts";
import type { WeightSource } from "./weights.ts";

/** Bytes by purpose. */
export interface Footprint {
  readonly weights: number;
  readonly pool: number;
  /** The store of picture features. */
  readonly features: number;
  /** What threads compute in. */
  readonly scratch: number;
}

/** Weights inside a layer may be held in fewer bits; embeddings, the head and the projector stay as stored. */
const IN_A_LAYER = /\blayers\.\d+\./;

export function weightBytes(
  config: ModelConfig,
  names: WeightNames,
  source: WeightSource,
  storage: WeightStorage,
): number {
  let bytes = 0;
  for (const { name, shape } of requiredTensors(config, names)) {
    const elements = shape.reduce((product, size) => product * size, 1);
    const quantised = storage !== "stored" && shape.length === 2 && IN_A_LAYER.test(name);
    bytes += quantised
      ? quantisedBytes(storage.format, elements)
      : elements * MATRIX_ELEMENT_BYTES[source.tensor(name).dtype];
  }
  return bytes;
}

/** Bytes of all compressors' weights, which are held in f32. */
export function compressorBytes(compressors: readonly Compressor[]): number {
  return compressors.flatMap(({ tensors }) => [...tensors.values()]).reduce(
    (sum, { shape }) => sum + 4 * shape.reduce((product, size) => product * size, 1),
    0,
  );
}

export function footprint(weights: number, sizing: Sizing, hidden: number, scratch: number): Footprint {
  return {
    weights,
    pool: sizing.kv.pageCount * sizing.kv.pageBytes,
    features: sizing.embeddingRows * hidden * 4,
    scratch,
  };
}

/** Refuses a model that does not fit the `available` bytes. Throws StartError with the arithmetic. */
export function requireMemory(need: Footprint, available: number): void {
  const total = need.weights + need.pool + need.features + need.scratch;
  if (total <= available) return;
  const mib = (bytes: number) => `${Math.ceil(bytes / 1024 ** 2)} MiB`;
  throw new StartError(
    `this model needs ${mib(total)} of memory and ${mib(available)} are available: ` +
      `weights ${mib(need.weights)} + KV pool ${mib(need.pool)} + picture features ${mib(need.features)} + ` +
      `scratch ${mib(need.scratch)}. Lower --kv-memory, take --dtype int8 or int4, or a smaller model`,
  );
}
