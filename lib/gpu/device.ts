/** The one place that asks for an adapter and opens the device. One device per process, kept until the end. */
import { StartError } from "../core/errors.ts";

/** The limits that kernels and sizes are planned with. Without asking, a device has the smaller defaults. */
const WANTED_LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxStorageBuffersPerShaderStage",
] as const;

export type LimitName = typeof WANTED_LIMITS[number];

/** What an adapter says of itself, as plain data. */
export interface AdapterFacts {
  readonly name: string;
  /** PCI vendor number as a decimal string on Deno 2.9. */
  readonly vendor: string;
  /** True when the adapter is a processor in disguise. */
  readonly software: boolean;
  readonly limits: Readonly<Record<LimitName, number>>;
  /** Optional features that the adapter lists. */
  readonly features: readonly string[];
}

export type AdapterSearch =
  | { readonly adapter: GPUAdapter; readonly facts: AdapterFacts; readonly reason: null }
  | { readonly adapter: null; readonly facts: null; readonly reason: string };

/** Looks for the fastest adapter. Never throws: what went wrong is the reason. */
export async function findAdapter(): Promise<AdapterSearch> {
  // Absent when the runtime was started without WebGPU, whatever its types say.
  const gpu: GPU | undefined = navigator.gpu;
  if (gpu === undefined) return missing("this Deno has no WebGPU: start it with --unstable-webgpu");
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) return missing("no graphics driver answered");
    return { adapter, facts: factsOf(adapter), reason: null };
  } catch (error) {
    return missing(error instanceof Error ? error.message : String(error));
  }
}

/** Opens the device with the adapter's own limits. Throws StartError when it refuses. */
export async function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) requiredLimits[name] = adapter.limits[name];
  try {
    return await adapter.requestDevice({ label: "fastcache", requiredLimits });
  } catch (error) {
    throw new StartError(
      `the adapter ${factsOf(adapter).name} gave no device: ${
        error instanceof Error ? error.message : error
      }`,
    );
  }
}

/** Software rasterisers by name, for drivers that do not say that they are one. */
const SOFTWARE_NAMES = /llvmpipe|lavapipe|swiftshader|softpipe|basic render/i;

function factsOf(adapter: GPUAdapter): AdapterFacts {
  const { info, limits } = adapter;
  const name = info.description || info.device || "unnamed adapter";
  return {
    name,
    vendor: info.vendor,
    software: info.isFallbackAdapter || SOFTWARE_NAMES.test(name),
    limits: Object.fromEntries(WANTED_LIMITS.map((limit) => [limit, limits[limit]])) as Record<
      LimitName,
      number
    >,
    features: [...adapter.features].sort(),
  };
}

function missing(reason: string): AdapterSearch {
  return { adapter: null, facts: null, reason };
}
