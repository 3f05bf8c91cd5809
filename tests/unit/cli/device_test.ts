import assert from "node:assert/strict";
import { prepareEnvironment, probeAdapter } from "../../../lib/cli/adapter.ts";
import { chooseDevice, defaultThreads } from "../../../lib/cli/device.ts";

prepareEnvironment();

async function choose(options: Partial<Parameters<typeof chooseDevice>[0]>) {
  const lines: string[] = [];
  const device = await chooseDevice(
    { backend: "auto", threads: null, dtype: "stored", ...options },
    (line) => lines.push(line),
  );
  assert.equal(lines.length, 1, "the choice is said in one line");
  return { device, line: lines[0] };
}

Deno.test("chooseDevice takes the backend that was asked for, whatever there is", async () => {
  for (const backend of ["webgpu", "wasm"] as const) {
    const { device, line } = await choose({ backend });
    assert.equal(device.backend, backend);
    assert.equal(line, `backend: ${backend}, as asked for`);
  }
});

Deno.test("chooseDevice leaves quantised weights on an asked-for WebGPU to be refused by name", async () => {
  const dtype = { format: "int8", family: "dot" } as const;
  const { device } = await choose({ backend: "webgpu", dtype });
  assert.deepEqual(device, { backend: "webgpu", threads: defaultThreads(), weights: dtype });
});

Deno.test("chooseDevice takes wasm for quantised weights without asking for an adapter", async () => {
  const dtype = { format: "int4", family: "exact" } as const;
  const { device, line } = await choose({ dtype });
  assert.deepEqual(device, { backend: "wasm", threads: defaultThreads(), weights: dtype });
  assert.match(line, /^backend: wasm, quantised/);
});

Deno.test("chooseDevice takes WebGPU by itself only where the adapter is a GPU, and says why", async () => {
  const { facts } = await probeAdapter();
  const { device, line } = await choose({});
  assert.equal(device.backend, facts !== null && !facts.software ? "webgpu" : "wasm");
  assert.ok(line.includes(facts === null ? "no WebGPU adapter" : facts.name), line);
});

Deno.test("chooseDevice uses the threads given, else every core up to eight", async () => {
  assert.equal((await choose({ backend: "wasm", threads: 3 })).device.threads, 3);
  assert.equal(
    (await choose({ backend: "wasm" })).device.threads,
    Math.min(8, navigator.hardwareConcurrency),
  );
});
