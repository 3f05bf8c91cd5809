/**
 * The backends that operation tests run on: the oracle always, WebGPU when this machine has an adapter. A test that
 * cannot run is skipped by name, with the reason in the name; where CI is set it fails instead.
 */
import { prepareEnvironment } from "../../lib/cli/adapter.ts";
import { createGpuBackend } from "../../lib/gpu/backend.ts";
import { findAdapter } from "../../lib/gpu/device.ts";
import type { Backend } from "../../lib/ops/backend.ts";
import { WasmBackend } from "../../lib/wasm/backend.ts";
import { ReferenceBackend } from "../reference/backend.ts";
import { assertClose, type Numbers, type Tolerance } from "./compare.ts";
import { Scope } from "./scope.ts";
import { NO_KERNELS } from "./wasm.ts";

interface Candidate {
  readonly name: string;
  /** Why it cannot run here; null when it can. */
  readonly missing: string | null;
  open(): Promise<Backend>;
}

prepareEnvironment();

const ORACLE: Candidate = {
  name: "reference",
  missing: null,
  open: () => Promise.resolve(new ReferenceBackend()),
};

/** Backends that are compared with the oracle. */
const DEVICES: readonly Candidate[] = [
  // Two threads, so that shares and barriers are tested wherever the tests run.
  {
    name: "wasm",
    missing: null,
    open: () => WasmBackend.create({ threads: 2, weightBytes: 1 << 20, examine: NO_KERNELS }),
  },
  { name: "webgpu", missing: (await findAdapter()).reason, open: createGpuBackend },
];

/** Backends opened so far. One of each serves all tests of a file: a device takes long to open. */
const opened = new Map<string, Promise<Backend>>();

function open(candidate: Candidate): Promise<Backend> {
  let backend = opened.get(candidate.name);
  if (backend === undefined) {
    backend = candidate.open();
    opened.set(candidate.name, backend);
  }
  return backend;
}

globalThis.addEventListener("unload", () => {
  // One that did not open has failed its tests already.
  for (const backend of opened.values()) backend.then((one) => one.close(), () => {});
});

/** Registers a test of what must hold on every backend, the oracle included. */
export function testEach(name: string, run: (scope: Scope) => Promise<void>): void {
  for (const candidate of [ORACLE, ...DEVICES]) {
    register(candidate, name, async () => {
      using scope = new Scope(await open(candidate));
      await run(scope);
    });
  }
}

/** Registers a test on every backend, each with a backend of its own, which it gives to an engine to close. */
export function testModel(name: string, run: (backend: Backend) => Promise<void>): void {
  for (const candidate of [ORACLE, ...DEVICES]) {
    register(candidate, name, async () => await run(await candidate.open()));
  }
}

/** As {@link testModel} on devices alone: for long cases that the oracle goes through in f32. */
export function testDevices(name: string, run: (backend: Backend) => Promise<void>): void {
  for (const candidate of DEVICES) {
    register(candidate, name, async () => await run(await candidate.open()));
  }
}

/**
 * Registers a test that every device computes what the oracle does. `run` computes one case on the backend it is
 * given, from seeded numbers, and returns the results to compare.
 */
export function testParity<Case>(
  name: string,
  tolerance: Tolerance,
  cases: readonly Case[],
  run: (scope: Scope, one: Case) => Promise<readonly Numbers[]>,
): void {
  const runOn = async (candidate: Candidate, one: Case) => {
    using scope = new Scope(await open(candidate));
    return await run(scope, one);
  };
  for (const device of DEVICES) {
    register(device, name, async () => {
      for (const one of cases) {
        const expected = await runOn(ORACLE, one);
        const actual = await runOn(device, one);
        for (const [i, values] of expected.entries()) {
          assertClose(actual[i], values, tolerance, `${JSON.stringify(one)} result ${i}`);
        }
      }
    });
  }
}

function register(candidate: Candidate, name: string, fn: () => Promise<void>): void {
  const { missing } = candidate;
  const inCi = Deno.env.get("CI") !== undefined;
  Deno.test({
    name: missing === null || inCi
      ? `${name} (${candidate.name})`
      : `${name} (${candidate.name}, skipped: ${missing})`,
    ignore: missing !== null && !inCi,
    // A device outlives the test that opened it, and Deno 2.9 settles the promise of a mapping 10 ms after the data was
    // read. To be removed when mapAsync settles as soon as the buffer is mapped.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: missing === null ? fn : () => Promise.reject(new Error(`${candidate.name} cannot run: ${missing}`)),
  });
}
