/** `doctor` as its users run it. */
import assert from "node:assert/strict";
import { gpuTest } from "../support/gpu_test.ts";

const PROJECT = new URL("../../", import.meta.url);

async function doctor(env: Record<string, string>): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "main.ts", "doctor"],
    cwd: PROJECT,
    env,
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(code, 0, text(stderr));
  return text(stdout);
}

/** The part about one backend. */
function part(report: string, backend: string): string {
  const found = report.split("\n\n").find((section) => section.startsWith(`${backend}:`));
  assert.ok(found, `a part about ${backend} in: ${report}`);
  return found;
}

function assertRates(section: string): void {
  const numbers = /matmul f32 ([\d.]+) and f16 ([\d.]+) GFLOP\/s .*; one row ([\d.]+) G weights\/s/.exec(
    section,
  );
  assert.ok(numbers, section);
  for (const number of numbers.slice(1)) assert.ok(Number(number) > 0, section);
}

Deno.test({
  name:
    "doctor without an adapter shows wasm, its rates and its self-test, gives advice for a GPU and ends with 0",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const report = await doctor({ VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" });
    const wasm = part(report, "wasm");
    assertRates(wasm);
    assert.match(wasm, /WebAssembly SIMD, \d+ threads?\n/);
    assert.match(wasm, /fused multiply-add: (yes|no)/);
    for (const kernel of ["matmul f32", "matmul int8 dot", "rms_norm", "rope and attention f16"]) {
      assert.match(wasm, new RegExp(`^ +${kernel} +ok +largest error`, "m"));
    }
    assert.match(part(report, "webgpu"), /no adapter \(.+\)\n +advice: .*WebAssembly/);
    assert.match(report, /^start takes backend: wasm, no WebGPU adapter/m);
  },
});

gpuTest(
  "doctor with an adapter shows both backends with their rates, and which one start takes",
  async () => {
    const report = await doctor({});
    assertRates(part(report, "wasm"));
    const webgpu = part(report, "webgpu");
    assertRates(webgpu);
    assert.match(webgpu, /maxStorageBufferBindingSize +\d+/);
    assert.match(webgpu, /matmul +ok/);
    assert.match(report, /^start takes backend: (webgpu|wasm), the adapter .+/m);
  },
);
