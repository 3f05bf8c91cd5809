/** `doctor`: what this machine's adapter is and can do, and plain advice. Changes nothing on the machine. */
import { createGpuBackend, type GpuBackend } from "../gpu/backend.ts";
import { probeAdapter } from "./adapter.ts";
import { size } from "./chosen.ts";
import { driverPlan, thisSystem } from "./driver.ts";

/** Prints the report; the exit code says whether `start` would find a device that calculates correctly. */
export async function doctor(): Promise<number> {
  console.log(`deno ${Deno.version.deno}, ${Deno.build.target}, ${navigator.hardwareConcurrency} cores`);
  const { facts, reason } = await probeAdapter();
  if (facts === null) {
    console.log(`adapter: none (${reason})`);
    console.log(advice());
    return 1;
  }
  const backend = await createGpuBackend();
  try {
    console.log(report(backend));
  } finally {
    backend.close();
  }
  return 0;
}

/** What a missing adapter means and what to do about it. */
function advice(): string {
  const plan = driverPlan(thisSystem());
  if (plan.kind === "advise") return plan.advice;
  const commands = plan.commands.map((command) => command.join(" ")).join(" && ");
  return `\`start\` computes with WebAssembly here; \`start --backend webgpu\` installs the software driver: ${commands}`;
}

function report({ adapterFacts: facts, capabilities, selfTest }: GpuBackend): string {
  const rows = selfTest.map(({ name, passed, detail, required }) => {
    const verdict = passed ? "ok" : required ? "FAILED" : "failed, turned off";
    return `  ${name.padEnd(34)}${verdict.padEnd(20)}${detail}`;
  });
  const limits = Object.entries(facts.limits).map(([name, value]) => `  ${name.padEnd(34)}${value}`);
  const lines = [
    `adapter: ${facts.name}${facts.software ? " (software: every step runs on the processor)" : ""}`,
    `vendor: ${facts.vendor || "unknown"}`,
    "limits:",
    ...limits,
    `features offered: ${facts.features.join(", ") || "none"}`,
    `features in use: ${capabilities.features.join(", ") || "none"}`,
    `largest KV pool: ${size(capabilities.kvBytesMax)}; largest tensor: ${size(capabilities.tensorBytesMax)}`,
    "self-test:",
    ...rows,
  ];
  if (facts.software) {
    lines.push(
      "advice: this works, slowly. With a GPU, install its maker's Vulkan driver and run doctor again.",
    );
  }
  return lines.join("\n");
}
