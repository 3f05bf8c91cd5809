/** Compiled kernels and the shape of their bindings, kept by key for as long as the device lives. */
import { assert } from "../core/assert.ts";
import type { Kernel } from "../../shaders/kernel.ts";
import type { Faults } from "./faults.ts";
import { PARAMS_SLOT_BYTES } from "./params.ts";

/** How a kernel's storage buffers and params are bound; kernels with equal bindings share one. */
export interface Layout {
  /** E.g. "read,read,read_write,params". */
  readonly signature: string;
  readonly bindGroupLayout: GPUBindGroupLayout;
  readonly pipelineLayout: GPUPipelineLayout;
  readonly hasParams: boolean;
}

export interface Pipeline {
  readonly key: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: Layout;
}

export class Pipelines {
  readonly #device: GPUDevice;
  readonly #faults: Faults;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, Layout>();

  constructor(device: GPUDevice, faults: Faults) {
    this.#device = device;
    this.#faults = faults;
  }

  /** Compiles at the first use. An error in the WGSL shows at the step's end under the kernel's key. */
  get(kernel: Kernel): Pipeline {
    const known = this.#pipelines.get(kernel.key);
    if (known !== undefined) return known;
    const layout = this.#layout(kernel);
    const pipeline = this.#faults.guard(`kernel ${kernel.key}`, () =>
      this.#device.createComputePipeline({
        label: kernel.key,
        layout: layout.pipelineLayout,
        compute: {
          module: this.#device.createShaderModule({ label: kernel.key, code: kernel.code }),
          entryPoint: "main",
        },
      }));
    const made = { key: kernel.key, pipeline, layout };
    this.#pipelines.set(kernel.key, made);
    return made;
  }

  #layout(kernel: Kernel): Layout {
    assert(kernel.paramWords * 4 <= PARAMS_SLOT_BYTES, `params of ${kernel.key} fit their slot`);
    const hasParams = kernel.paramWords > 0;
    const signature = [...kernel.bindings, ...(hasParams ? ["params"] : [])].join();
    const known = this.#layouts.get(signature);
    if (known !== undefined) return known;
    const entries: GPUBindGroupLayoutEntry[] = kernel.bindings.map((access, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: access === "read" ? "read-only-storage" : "storage" },
    }));
    if (hasParams) {
      entries.push({
        binding: kernel.bindings.length,
        visibility: GPUShaderStage.COMPUTE,
        // One arena holds the params of all dispatches; which slot is said when the dispatch is encoded.
        buffer: { type: "uniform", hasDynamicOffset: true },
      });
    }
    const bindGroupLayout = this.#device.createBindGroupLayout({ label: signature, entries });
    const made = {
      signature,
      bindGroupLayout,
      pipelineLayout: this.#device.createPipelineLayout({
        label: signature,
        bindGroupLayouts: [bindGroupLayout],
      }),
      hasParams,
    };
    this.#layouts.set(signature, made);
    return made;
  }
}
