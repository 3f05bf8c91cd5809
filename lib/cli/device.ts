/** What computes: decided once, before the engine starts, and said in one line. */
import type { DeviceOptions } from "../engine/device.ts";
import { probeAdapter } from "./adapter.ts";
import type { ServeValues } from "./flags.ts";

/** Threads beyond this gain little on the models that a processor can serve, and take cores from everything else. */
const THREADS_MAX = 8;

/** Every core, up to the limit. */
export function defaultThreads(): number {
  return Math.min(THREADS_MAX, navigator.hardwareConcurrency);
}

/** The device for these flags. `auto` takes WebGPU where the adapter is a real GPU; it installs nothing. */
export async function chooseDevice(
  options: Pick<ServeValues, "backend" | "threads" | "dtype">,
  say: (line: string) => void,
): Promise<DeviceOptions> {
  const threads = options.threads ?? defaultThreads();
  const { backend, why } = await decide(options);
  say(`backend: ${backend}, ${why}`);
  return { backend, threads, weights: options.dtype };
}

async function decide(
  { backend, dtype }: Pick<ServeValues, "backend" | "dtype">,
): Promise<{ backend: "webgpu" | "wasm"; why: string }> {
  if (backend !== "auto") return { backend, why: "as asked for" };
  if (dtype !== "stored") return { backend: "wasm", why: "quantised weights run there" };
  const { facts, reason } = await probeAdapter();
  if (facts === null) return { backend: "wasm", why: `no WebGPU adapter: ${reason}` };
  if (facts.software) {
    return { backend: "wasm", why: `the adapter ${facts.name} is a software driver on the processor` };
  }
  return { backend: "webgpu", why: `the adapter ${facts.name} is a GPU` };
}
