/** `doctor`: what this machine can compute with and how fast, what `start` would take, and plain advice. Changes nothing. */
import { StartError } from "../core/errors.ts";
import { createGpuBackend } from "../gpu/backend.ts";
import type { Backend } from "../ops/backend.ts";
import type { SelfTestRow } from "../ops/self_test.ts";
import { WasmBackend } from "../wasm/backend.ts";
import { probeAdapter } from "./adapter.ts";
import { size } from "./chosen.ts";
import { chooseDevice, defaultThreads } from "./device.ts";
import { driverPlan, thisSystem } from "./driver.ts";
import { measureRates } from "./rates.ts";

function say(line: string): void {
  console.log(line);
}

/** Prints the report; 0 when `start` would find a backend that calculates correctly, else 1. */
export async function doctor(): Promise<number> {
  say(`deno ${Deno.version.deno}, ${Deno.build.target}, ${navigator.hardwareConcurrency} cores`);
  const works = { wasm: await reportWasm(), webgpu: await reportWebgpu() };
  say("");
  const { backend } = await chooseDevice(
    { backend: "auto", threads: null, dtype: "stored" },
    (line) => say(`start takes ${line}`),
  );
  if (!works[backend]) say(`advice: ${backend} does not work here, so \`start\` would end; see above`);
  return works[backend] ? 0 : 1;
}

async function reportWasm(): Promise<boolean> {
  const threads = defaultThreads();
  return await report("wasm", () => WasmBackend.create({ threads, weightBytes: 1 << 24 }), (backend) => [
    backend.capabilities.adapter,
    `fused multiply-add: ${backend.fused ? "yes" : "no: slower, and the last bits of results are others"}`,
    ...selfTestLines(backend.selfTest),
  ]);
}

async function reportWebgpu(): Promise<boolean> {
  const { facts, reason } = await probeAdapter();
  if (facts === null) {
    say("");
    say(`webgpu: no adapter (${reason})`);
    say(`  ${driverAdvice()}`);
    return false;
  }
  return await report("webgpu", () => createGpuBackend(), (backend) => [
    `${facts.name}${facts.software ? " (software: every step runs on the processor)" : ""}`,
    `vendor: ${facts.vendor || "unknown"}`,
    "limits:",
    ...Object.entries(facts.limits).map(([name, value]) => `  ${name.padEnd(34)}${value}`),
    `features offered: ${facts.features.join(", ") || "none"}`,
    ...selfTestLines(backend.selfTest),
    ...(facts.software ? ["advice: with a GPU, install its maker's Vulkan driver and run doctor again"] : []),
  ]);
}

/** One backend's part of the report; whether it could be opened. */
async function report<Opened extends Backend>(
  name: string,
  open: () => Promise<Opened>,
  describe: (backend: Opened) => readonly string[],
): Promise<boolean> {
  say("");
  let backend: Opened;
  try {
    backend = await open();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    say(`${name}: FAILED: ${error.message}`);
    return false;
  }
  try {
    const [title, ...lines] = describe(backend);
    const { features, kvBytesMax, tensorBytesMax } = backend.capabilities;
    const rates = await measureRates(backend);
    say(`${name}: ${title}`);
    say(
      `  rates: matmul f32 ${rates.matmulF32.toFixed(1)} and f16 ${
        rates.matmulF16.toFixed(1)
      } GFLOP/s (64 rows); ` +
        `one row ${rates.gemvF16.toFixed(1)} G weights/s (f16)`,
    );
    say(`  features in use: ${features.join(", ") || "none"}`);
    say(`  largest KV pool: ${size(kvBytesMax)}; largest tensor: ${size(tensorBytesMax)}`);
    for (const line of lines) say(`  ${line}`);
  } finally {
    backend.close();
  }
  return true;
}

function selfTestLines(rows: readonly SelfTestRow[]): string[] {
  return [
    "self-test:",
    ...rows.map(({ name, passed, detail, required }) => {
      const verdict = passed ? "ok" : required ? "FAILED" : "failed, turned off";
      return `  ${name.padEnd(34)}${verdict.padEnd(20)}${detail}`;
    }),
  ];
}

/** What a missing adapter means and what to do about it. */
function driverAdvice(): string {
  const plan = driverPlan(thisSystem());
  const how = plan.kind === "advise"
    ? plan.advice
    : `\`start --backend webgpu\` installs the software driver: ${
      plan.commands.map((command) => command.join(" ")).join(" && ")
    }`;
  return `advice: nothing is needed; \`start\` computes with WebAssembly. For a GPU: ${how}`;
}
