/** Tests of the whole program that need a device. */
import { prepareEnvironment } from "../../lib/cli/adapter.ts";
import { findAdapter } from "../../lib/gpu/device.ts";

prepareEnvironment();
const { reason } = await findAdapter();

/**
 * Registers a test that needs a WebGPU adapter. Without one it is skipped by name, with the reason in the name; where
 * CI is set it fails instead.
 */
export function gpuTest(name: string, fn: () => Promise<void>): void {
  if (reason === null) return Deno.test(name, fn);
  if (Deno.env.get("CI") === undefined) {
    return Deno.test({ name: `${name} (skipped: ${reason})`, ignore: true, fn });
  }
  Deno.test(name, () => Promise.reject(new Error(`no WebGPU adapter: ${reason}`)));
}
