/** End-to-end tests, on every backend that this machine has. */
import { prepareEnvironment } from "../../lib/cli/adapter.ts";
import type { ServeValues } from "../../lib/cli/flags.ts";
import { findAdapter } from "../../lib/gpu/device.ts";
import { startServer, type TestServer } from "./server.ts";

prepareEnvironment();
const { reason } = await findAdapter();

/** Starts a server on the backend that the test was registered for. */
export type Start = (values?: Partial<ServeValues>) => Promise<TestServer>;

/**
 * Registers an end-to-end test for the wasm backend, and for WebGPU where there is an adapter. Without one the latter is
 * skipped by name, with the reason in the name; where CI is set it fails instead.
 */
export function testServer(
  name: string,
  run: (start: Start, backend: "wasm" | "webgpu") => Promise<void>,
): void {
  Deno.test(`${name} (wasm)`, () => run((values) => startServer({ ...values, backend: "wasm" }), "wasm"));
  const fn = () => run((values) => startServer({ ...values, backend: "webgpu" }), "webgpu");
  if (reason === null) Deno.test(`${name} (webgpu)`, fn);
  else if (Deno.env.get("CI") === undefined) {
    Deno.test({ name: `${name} (webgpu, skipped: ${reason})`, ignore: true, fn });
  } else Deno.test(`${name} (webgpu)`, () => Promise.reject(new Error(`no WebGPU adapter: ${reason}`)));
}
