/** What went wrong on the device since it was last asked. The device reports late; a step's end throws it. */
import { log } from "../core/log.ts";

/** Faults kept at most: the first ones say why, the rest follow from them. */
const FAULTS_KEPT = 8;

export class Faults {
  readonly #device: GPUDevice;
  readonly #found: string[] = [];
  /** Scopes whose answer has not come yet. */
  readonly #pending = new Set<Promise<void>>();

  constructor(device: GPUDevice) {
    this.#device = device;
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      log.error("gpu_uncaptured", { message: error.message });
      this.#add(error.message);
    });
    device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") this.#add(`the device was lost: ${message}`);
    });
  }

  /** Runs `work` under error scopes; what they catch is kept with `subject`, e.g. "kernel matmul f16 8x8". */
  guard<T>(subject: string, work: () => T): T {
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    try {
      return work();
    } finally {
      this.#collect(subject);
      this.#collect(`${subject}: out of device memory`);
    }
  }

  /** Waits for open scopes, then throws one Error that names every fault found since the last call, if any. */
  async check(): Promise<void> {
    await Promise.all(this.#pending);
    if (this.#found.length === 0) return;
    throw new Error(`WebGPU failed: ${this.#found.splice(0).join("; ")}`);
  }

  #collect(subject: string): void {
    const answer = this.#device.popErrorScope().then(
      (error) => {
        if (error !== null) this.#add(`${subject}: ${error.message}`);
      },
      (error) => this.#add(`${subject}: ${error instanceof Error ? error.message : error}`),
    ).finally(() => this.#pending.delete(answer));
    this.#pending.add(answer);
  }

  #add(message: string): void {
    if (this.#found.length < FAULTS_KEPT) this.#found.push(message.trim());
  }
}
