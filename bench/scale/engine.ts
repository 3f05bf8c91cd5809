/** An engine that computes nothing and takes the time that its costs say. */
import type {
  CompressSequence,
  EncodeImage,
  Engine,
  EngineFacts,
  ForwardSequence,
} from "../../lib/engine/engine.ts";
import type { SampledToken } from "../../lib/engine/engine.ts";
import type { VirtualClock } from "./virtual_clock.ts";
import type { StepCosts } from "./costs.ts";

/** Any token that is text: requests end by their length. */
const TOKEN: SampledToken = { id: 10, logprob: null, top: [] };

export class CostEngine implements Engine {
  /** When the device has done what it was given. Steps run one after the other. */
  #freeMs = 0;
  busyMs = 0;

  constructor(
    readonly facts: EngineFacts,
    private readonly costs: StepCosts,
    private readonly clock: VirtualClock,
  ) {}

  async encode(images: readonly EncodeImage[]): Promise<void> {
    await this.#work(this.costs.encode(images));
  }

  async forward(sequences: readonly ForwardSequence[]): Promise<(SampledToken | null)[]> {
    await this.#work(this.costs.forward(sequences));
    return sequences.map(({ sampling }) => sampling === null ? null : TOKEN);
  }

  async compress(sequences: readonly CompressSequence[]): Promise<void> {
    await this.#work(this.costs.compress(sequences));
  }

  liveBytes(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #work(ms: number): Promise<void> {
    const nowMs = this.clock.now();
    this.#freeMs = Math.max(nowMs, this.#freeMs) + ms;
    this.busyMs += ms;
    return new Promise((resolve) => this.clock.after(this.#freeMs - nowMs, resolve));
  }
}
