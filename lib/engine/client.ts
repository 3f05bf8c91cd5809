/** The engine as the scheduler holds it: calls over a channel to the worker that owns the device. */
import { StartError } from "../core/errors.ts";
import type {
  CompressSequence,
  EncodeImage,
  Engine,
  EngineFacts,
  ForwardSequence,
  SampledToken,
} from "./engine.ts";
import { parcel } from "./parcel.ts";
import type { EngineCall, EngineOptions, EngineReply, EngineRequest } from "./protocol.ts";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

class EngineClient implements Engine {
  facts!: EngineFacts;
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "engine" });
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  /** Why no call can succeed any more. */
  #broken: Error | null = null;

  constructor() {
    this.#worker.onmessage = (event: MessageEvent<EngineReply>) => {
      const reply = event.data;
      const waiting = this.#waiting.get(reply.id);
      if (waiting === undefined) return;
      this.#waiting.delete(reply.id);
      if (reply.ok) waiting.resolve(reply.value);
      else {waiting.reject(
          reply.failure.start ? new StartError(reply.failure.message) : new Error(reply.failure.message),
        );}
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#break(new Error(`the engine's worker failed: ${event.message}`));
    };
  }

  async start(options: EngineOptions): Promise<void> {
    this.facts = await this.#call({ call: "start", options }) as EngineFacts;
  }

  async encode(images: readonly EncodeImage[]): Promise<void> {
    // The pixels are not needed here any more: they move instead of being copied.
    const buffers = new Set(images.map((image) => image.pixels.buffer as ArrayBuffer));
    await this.#call({ call: "encode", images }, [...buffers]);
  }

  async forward(sequences: readonly ForwardSequence[]): Promise<(SampledToken | "not_finite" | null)[]> {
    return await this.#callWith("forward", sequences) as (SampledToken | "not_finite" | null)[];
  }

  async compress(sequences: readonly CompressSequence[]): Promise<void> {
    await this.#callWith("compress", sequences);
  }

  async liveBytes(): Promise<number> {
    return await this.#call({ call: "liveBytes" }) as number;
  }

  async close(): Promise<void> {
    if (this.#broken !== null) return;
    await this.#call({ call: "close" });
    this.#break(new Error("the engine is closed"));
  }

  /** Ends the worker without asking it. */
  terminate(): void {
    this.#break(new Error("the engine is closed"));
  }

  #callWith(call: "forward" | "compress", message: unknown): Promise<unknown> {
    const sequences = parcel(message);
    return this.#call({ call, sequences }, [sequences.words.buffer]);
  }

  #call(body: EngineCall, transfer: Transferable[] = []): Promise<unknown> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, body } satisfies EngineRequest, transfer);
    });
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#worker.terminate();
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

/** Starts the worker, loads the model, allocates the pool. Throws StartError for what the user can mend. */
export async function startEngine(options: EngineOptions): Promise<Engine> {
  const client = new EngineClient();
  try {
    await client.start(options);
  } catch (error) {
    client.terminate();
    throw error;
  }
  return client;
}
