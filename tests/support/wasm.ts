/** WebAssembly backends for tests that open many. */
import { WasmBackend, type WasmOptions } from "../../lib/wasm/backend.ts";
import type { KernelUse } from "../../lib/wasm/self_test.ts";

/** A start without the self-test of matmul, activations and attention, which one test file runs in full. */
export const NO_KERNELS: KernelUse = { formats: [], families: [], activations: [], caches: [], segments: [] };

/** Runs `use` on a backend of its own, which is closed at the end. */
export async function withWasm<Result>(
  options: Partial<WasmOptions>,
  use: (backend: WasmBackend) => Promise<Result>,
): Promise<Result> {
  const backend = await WasmBackend.create({
    threads: 1,
    weightBytes: 1 << 20,
    examine: NO_KERNELS,
    ...options,
  });
  try {
    return await use(backend);
  } finally {
    backend.close();
  }
}
