/** Tests of the WebGPU backend itself. Without an adapter they are skipped by name; where CI is set they fail. */
import { prepareEnvironment } from "../../lib/cli/adapter.ts";
import { createGpuBackend, type GpuBackend, type GpuOptions } from "../../lib/gpu/backend.ts";
import { findAdapter } from "../../lib/gpu/device.ts";

prepareEnvironment();
const { reason } = await findAdapter();
const skipped = reason !== null && Deno.env.get("CI") === undefined;

/** Registers a test that gets a backend of its own, closed at the end. */
export function testGpu(
  name: string,
  options: GpuOptions,
  run: (backend: GpuBackend) => Promise<void>,
): void {
  Deno.test({
    name: skipped ? `${name} (webgpu, skipped: ${reason})` : `${name} (webgpu)`,
    ignore: skipped,
    // Deno 2.9 settles the promise of a mapping 10 ms after the data was read. To be removed when mapAsync settles as
    // soon as the buffer is mapped.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const backend = await createGpuBackend(options);
      try {
        await run(backend);
      } finally {
        backend.close();
      }
    },
  });
}
