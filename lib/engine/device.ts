/** Opens the backend that the engine computes with. The only place that knows that there are two. */
import { StartError } from "../core/errors.ts";
import { createGpuBackend } from "../gpu/backend.ts";
import type { LoadedModel } from "../model/directory.ts";
import { requiredTensors } from "../model/weights.ts";
import type { Backend } from "../ops/backend.ts";
import { MATRIX_ELEMENT_BYTES } from "../ops/tensor.ts";
import { type ProductFamily, WasmBackend } from "../wasm/backend.ts";
import { quantisedBytes, type QuantisedFormat } from "../wasm/quantised.ts";

/** How weights are held: as stored, or in fewer bits (see `wasm/quantised.ts`), and how products with them are taken. */
export type WeightStorage = "stored" | { readonly format: QuantisedFormat; readonly family: ProductFamily };

export interface DeviceOptions {
  readonly backend: "webgpu" | "wasm";
  /** Threads of the wasm backend. */
  readonly threads: number;
  readonly weights: WeightStorage;
}

/** Throws StartError when the device, or the memory for this model, is not there. */
export async function openBackend(options: DeviceOptions, model: LoadedModel): Promise<Backend> {
  if (options.backend === "webgpu") {
    if (options.weights !== "stored") {
      throw new StartError(
        "quantised weights (--dtype) need --backend wasm: WebGPU kernels for them do not exist yet",
      );
    }
    return await createGpuBackend();
  }
  const { weights } = options;
  const weightBytes = bytesOfWeights(model, weights);
  requireMemory(weightBytes);
  return await WasmBackend.create({
    threads: options.threads,
    weightBytes,
    ...(weights === "stored" ? {} : { quantise: weights.format, family: weights.family }),
  });
}

function bytesOfWeights(model: LoadedModel, storage: WeightStorage): number {
  let bytes = 0;
  for (const { name, shape } of requiredTensors(model.config, model.names)) {
    const elements = shape.reduce((product, size) => product * size, 1);
    const stored = elements * MATRIX_ELEMENT_BYTES[model.source.tensor(name).dtype];
    bytes += storage === "stored" || shape.length === 1
      ? stored
      : Math.min(stored, quantisedBytes(storage.format, elements));
  }
  return bytes;
}

/** Refuses a model before any of it is read. The pool comes on top; it is sized from what is left. */
function requireMemory(weightBytes: number): void {
  const { available } = Deno.systemMemoryInfo();
  if (weightBytes > available) {
    const mib = (bytes: number) => Math.ceil(bytes / 1024 ** 2);
    throw new StartError(
      `the model's weights need ${mib(weightBytes)} MiB, and ${
        mib(available)
      } MiB of memory are available: ` +
        "take a smaller model, or --dtype int8 or int4",
    );
  }
}
