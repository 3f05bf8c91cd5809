/** What the server has to offer at this moment: nothing yet, a model, or only the end of what it has begun. */
import { assert } from "../core/assert.ts";
import { RequestError } from "../core/errors.ts";
import type { LearnedFacts } from "../engine/compress/segments.ts";
import type { GenerationDefaults } from "../model/config.ts";
import type { Scheduler } from "../../scheduler/messages.ts";
import type { SchedulerMetrics } from "../../scheduler/metrics.ts";

/** The model as clients see it. */
export interface ServedModel {
  /** What clients write in `model`. */
  readonly name: string;
  /** Where the model came from, for `GET /v1/models`; no path of this machine. */
  readonly root: string;
  /** Seconds since 1970. */
  readonly created: number;
  /** Longest context: prompt and completion together, in tokens. */
  readonly maxModelLen: number;
  readonly modalities: readonly ("text" | "image")[];
  /** Token ids of a prompt are below it. */
  readonly vocabSize: number;
  /** The id that stands for a picture's features in a prompt; null for a text-only model. */
  readonly imageTokenId: number | null;
  /** Sampling where a request does not say. */
  readonly defaults: GenerationDefaults;
  /** What the learned compression was trained for. */
  readonly compressors: readonly LearnedFacts[];
}

export interface Loaded {
  readonly scheduler: Scheduler & { readonly metrics: SchedulerMetrics };
  readonly model: ServedModel;
}

type ServiceState = "loading" | "ready" | "draining";

export class Service {
  #loaded: Loaded | null = null;
  #draining = false;

  /** The model is loaded: from now on requests are taken. */
  open(loaded: Loaded): void {
    assert(this.#loaded === null, "a service is opened once");
    this.#loaded = loaded;
  }

  /** From now on the server is not ready; the scheduler refuses what is new and finishes what runs. */
  beginDrain(): void {
    this.#draining = true;
  }

  get state(): ServiceState {
    if (this.#draining) return "draining";
    return this.#loaded === null ? "loading" : "ready";
  }

  /** The model and its scheduler, also while draining; undefined while loading. */
  get loaded(): Loaded | undefined {
    return this.#loaded ?? undefined;
  }

  /** For questions about the model. Throws RequestError loading. */
  requireLoaded(): Loaded {
    if (this.#loaded === null) throw new RequestError("loading", "The model is still loading.", null, 2);
    return this.#loaded;
  }

  /** For new work. Throws RequestError loading or draining. */
  requireReady(): Loaded {
    if (this.#draining) throw new RequestError("draining", "The server is shutting down.", null, 5);
    return this.requireLoaded();
  }
}
