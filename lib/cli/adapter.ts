/** Makes sure that there is a WebGPU adapter before anything asks for one. */
import { StartError } from "../core/errors.ts";
import type { AdapterFacts } from "../gpu/device.ts";
import type { AdapterAnswer } from "./adapter_worker.ts";
import { driverPlan, thisSystem } from "./driver.ts";

/**
 * Sets what graphics libraries read from the environment; a value that is already there stays. Call it first: they
 * read it when the first adapter is asked for.
 */
export function prepareEnvironment(): void {
  if (Deno.build.os === "linux" && Deno.env.get("XDG_RUNTIME_DIR") === undefined) {
    // Mesa complains on standard error without it, several times, though nothing is written there.
    Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
  }
  if (Deno.env.get("DENO_WEBGPU_BACKEND") === undefined) {
    // Without Vulkan, Deno 2.9 (wgpu 29) falls back to OpenGL, whose compute is too limited, and which has crashed
    // the process at exit. To be removed when that backend passes the self-test.
    Deno.env.set("DENO_WEBGPU_BACKEND", "vulkan,metal,dx12");
  }
}

/** Asks for an adapter in a new isolate: one that has asked in vain does not see a driver installed since. */
export function probeAdapter(): Promise<AdapterAnswer> {
  const worker = new Worker(new URL("./adapter_worker.ts", import.meta.url), {
    type: "module",
    name: "adapter",
  });
  return new Promise<AdapterAnswer>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<AdapterAnswer>) => resolve(event.data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new StartError(`cannot ask for a WebGPU adapter: ${event.message}`));
    };
  }).finally(() => worker.terminate());
}

/**
 * Returns what was found, after installing the software driver where this program may (as root on Debian's family).
 * Throws StartError with the exact command for this system otherwise. `say` gets one line for each thing done.
 */
export async function ensureAdapter(say: (line: string) => void): Promise<AdapterFacts> {
  const found = await probeAdapter();
  if (found.facts !== null) return found.facts;
  const plan = driverPlan(thisSystem());
  if (plan.kind === "advise") throw new StartError(noAdapter(found.reason, plan.advice));
  say("no WebGPU adapter on this machine: installing the software Vulkan driver (mesa-vulkan-drivers)");
  for (const command of plan.commands) {
    say(`running: ${command.join(" ")}`);
    await run(command);
  }
  const after = await probeAdapter();
  if (after.facts !== null) return after.facts;
  throw new StartError(
    noAdapter(after.reason, "mesa-vulkan-drivers is installed; see what `vulkaninfo --summary` says"),
  );
}

/** The message of a machine without an adapter. */
function noAdapter(reason: string, advice: string): string {
  return `no WebGPU adapter: ${reason}\n${advice}`;
}

async function run([program, ...args]: readonly string[]): Promise<void> {
  let code: number;
  try {
    const child = new Deno.Command(program, {
      args,
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
      // Standard output belongs to the start lines.
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const [status] = await Promise.all([
      child.status,
      child.stdout.pipeTo(Deno.stderr.writable, { preventClose: true }),
    ]);
    code = status.code;
  } catch (error) {
    throw new StartError(`cannot run ${program}: ${error instanceof Error ? error.message : error}`);
  }
  // An index that cannot be refreshed may still do; the installation decides.
  if (code !== 0 && !args.includes("update")) {
    throw new StartError(
      `${[program, ...args].join(" ")} ended with exit code ${code}: install the driver by hand`,
    );
  }
}
