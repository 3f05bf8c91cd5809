/** Opens the backend that the engine computes with. The only place that knows that there are two. */
import { StartError } from "../core/errors.ts";
import { createGpuBackend } from "../gpu/backend.ts";
import type { LoadedModel } from "../model/directory.ts";
import { requiredTensors } from "../model/weights.ts";
import type { Activation, Backend } from "../ops/backend.ts";
import type { KvDtype } from "../ops/kv.ts";
import { type ProductFamily, scratchBytes, WasmBackend, wasmCapabilities } from "../wasm/backend.ts";
import type { QuantisedFormat } from "../wasm/quantised.ts";
import type { KernelUse } from "../wasm/self_test.ts";
import { compressorBytes, footprint, requireMemory, weightBytes } from "./footprint.ts";
import { decideSizing, type SizingOptions } from "./sizing.ts";

/** How weights are held: as stored, or in fewer bits (see `wasm/quantised.ts`), and how products with them are taken. */
export type WeightStorage = "stored" | { readonly format: QuantisedFormat; readonly family: ProductFamily };

export interface DeviceOptions {
  readonly backend: "webgpu" | "wasm";
  /** Threads of the wasm backend. */
  readonly threads: number;
  readonly weights: WeightStorage;
}

/**
 * Throws StartError when the device, or the memory for this model, is not there. `copies`: how many times the bytes of its
 * weights are loaded.
 */
export async function openBackend(
  options: DeviceOptions & SizingOptions,
  model: LoadedModel,
  copies = 1,
): Promise<Backend> {
  const { weights: storage, threads } = options;
  if (options.backend === "webgpu") {
    if (storage !== "stored") {
      throw new StartError(
        "quantised weights (--dtype) need --backend wasm: WebGPU kernels for them do not exist yet",
      );
    }
    return await createGpuBackend();
  }
  const { config, names, source } = model;
  const weights = copies * weightBytes(config, names, source, storage) + compressorBytes(model.compressors);
  const sizing = decideSizing(config, wasmCapabilities(threads), options);
  const need = footprint(weights, sizing, config.text.hidden, scratchBytes(threads));
  requireMemory(need, Deno.systemMemoryInfo().available);
  return await WasmBackend.create({
    threads,
    weightBytes: weights,
    ...(storage === "stored" ? {} : { quantise: storage.format, family: storage.family }),
    examine: kernelsOf(model, storage, options.kvDtype),
  });
}

/** The kernels that this model will run. */
export function kernelsOf(
  { config, names, source, compressors = [] }:
    & Pick<LoadedModel, "config" | "names" | "source">
    & Partial<Pick<LoadedModel, "compressors">>,
  storage: WeightStorage,
  kvDtype: KvDtype,
): KernelUse {
  const { text, vision } = config;
  const dtypes = new Set(requiredTensors(config, names).map(({ name }) => source.tensor(name).dtype));
  // Stacked matrices of different dtypes are widened, and so are a compressor's.
  if (dtypes.size > 1 || compressors.length > 0) dtypes.add("f32");
  return {
    formats: storage === "stored" ? [...dtypes] : [...dtypes, storage.format],
    families: storage === "stored" ? [] : [storage.family],
    activations: [
      ...new Set<Activation>([
        "none",
        text.activation,
        ...(compressors.length === 0 ? [] : ["relu" as const]),
        ...(vision === null ? [] : [vision.activation, vision.projectorActivation]),
      ]),
    ],
    caches: [{ dtype: kvDtype, headDim: text.headDim }],
    segments: vision === null ? [] : [vision.hidden / vision.heads],
    folds: compressors.length > 0,
  };
}
