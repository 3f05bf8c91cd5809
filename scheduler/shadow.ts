/**
 * The shadow guard: some of the requests whose caches were compressed are answered twice more when nothing else runs,
 * with and without compression, greedily, and the answers are compared. It stands between the API and the scheduler: a
 * request that comes stops the run that is under way, so real work waits for one device step at most.
 */
import { RequestError } from "../lib/core/errors.ts";
import { SHADOW_PICTURE_BYTES_MAX, SHADOW_TOKENS_MAX, SHADOW_WAITING_MAX } from "../lib/core/limits.ts";
import { nextFloat, type Random } from "../lib/core/random.ts";
import type { LearnedFacts } from "../lib/engine/compress/segments.ts";
import type { Compression, GenerateEvent, GenerateRequest, SchedulerSnapshot } from "./messages.ts";
import type { MeasuredScheduler } from "./mod.ts";
import type { ShadowToken } from "./shadow_record.ts";

export interface ShadowOptions {
  /** Share of finished compressed requests that are looked at. */
  readonly rate: number;
  readonly random: Random;
  /** Compression of requests that name none. */
  readonly compression: Compression | null;
  /** What was trained of the learned method. */
  readonly compressors: readonly LearnedFacts[];
}

interface Candidate {
  readonly request: GenerateRequest;
  /** Of the server's own choice, as it was before it was backed off; null where the client chose. */
  readonly asked: Compression | null;
  readonly done: Compression;
  readonly tokens: number;
  readonly pictureBytes: number;
}

export class ShadowGuard implements MeasuredScheduler {
  readonly #waiting: Candidate[] = [];
  #running: AbortController | null = null;
  #closed = false;

  constructor(private readonly inner: MeasuredScheduler, private readonly options: ShadowOptions) {}

  get metrics(): MeasuredScheduler["metrics"] {
    return this.inner.metrics;
  }

  submit(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent> {
    this.#running?.abort();
    const asked = request.compression === undefined ? this.options.compression : request.compression;
    const own = request.compression === undefined || asked?.adaptive === true;
    const done = asked !== null && own ? this.metrics.shadow.eased(asked, this.options.compressors) : asked;
    const events = this.inner.submit({ ...request, compression: done }, signal);
    const watched: AsyncIterableIterator<GenerateEvent> = {
      next: async () => {
        const result = await events.next();
        if (result.done !== true) this.#look(request, own ? asked : null, done, result.value);
        return result;
      },
      return: async () => await events.return?.() ?? { done: true, value: undefined },
      [Symbol.asyncIterator]: () => watched,
    };
    return watched;
  }

  snapshot(): SchedulerSnapshot {
    return this.inner.snapshot();
  }

  drain(deadlineMs: number): Promise<void> {
    this.#stop();
    return this.inner.drain(deadlineMs);
  }

  checkIntegrity(): void {
    this.inner.checkIntegrity();
  }

  close(): Promise<void> {
    this.#stop();
    return this.inner.close();
  }

  #stop(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#running?.abort();
  }

  #look(
    request: GenerateRequest,
    asked: Compression | null,
    done: Compression | null,
    event: GenerateEvent,
  ): void {
    if (event.type === "token" || event.type === "admitted") return;
    if (event.type === "finished" && done !== null) {
      const { compression: usage, completionTokens } = event;
      const compressed = usage !== null && (usage.method !== "none" || usage.quantise !== null);
      if (compressed && nextFloat(this.options.random) < this.options.rate) {
        const tokens = Math.min(SHADOW_TOKENS_MAX, completionTokens);
        this.#put({ request, asked, done, tokens, pictureBytes: pictureBytes(request) });
      }
    }
    void this.#runWhileIdle();
  }

  #put(candidate: Candidate): void {
    const bytes = this.#waiting.reduce((sum, { pictureBytes }) => sum + pictureBytes, candidate.pictureBytes);
    if (this.#closed || this.#waiting.length === SHADOW_WAITING_MAX || bytes > SHADOW_PICTURE_BYTES_MAX) {
      this.metrics.shadow.dropped++;
    } else this.#waiting.push(candidate);
  }

  #putOff(candidate: Candidate): void {
    this.metrics.shadow.putOff++;
    this.#put(candidate);
  }

  async #runWhileIdle(): Promise<void> {
    while (this.#running === null && this.#waiting.length > 0 && this.inner.snapshot().sequences === 0) {
      const candidate = this.#waiting.shift()!;
      const running = this.#running = new AbortController();
      const { asked, done } = candidate;
      const named = { ...done, underPressure: false, minTokens: 0 };
      const compressed = await this.#answer(candidate, named, running.signal);
      const whole = compressed === null ? null : await this.#answer(candidate, null, running.signal);
      this.#running = null;
      if (compressed !== null && whole !== null) this.metrics.shadow.seen(asked, done, compressed, whole);
      else if (running.signal.aborted) this.#putOff(candidate);
      else this.metrics.shadow.dropped++;
    }
  }

  /** The greedy tokens, or null when the run gave way or failed. */
  async #answer(
    { request, tokens }: Candidate,
    compression: Compression | null,
    signal: AbortSignal,
  ): Promise<ShadowToken[] | null> {
    const answer: ShadowToken[] = [];
    try {
      const events = this.inner.submit({
        ...request,
        id: `${request.id}-shadow`,
        sampling: { ...request.sampling, temperature: 0, logprobs: 1 },
        maxTokens: tokens,
        stop: [],
        ignoreEos: true,
        compression,
        // Nobody's share of the server, and nobody's cached prompts.
        tenant: "shadow",
        shadow: true,
      }, signal);
      for await (const event of events) {
        if (event.type === "token") answer.push({ id: event.id, logprob: event.logprob?.logprob ?? 0 });
        if (event.type === "finished") return signal.aborted ? null : answer;
      }
      return null;
    } catch (error) {
      // Full, or shutting down: there is no place for it now.
      if (!(error instanceof RequestError)) throw error;
      return null;
    }
  }
}

function pictureBytes({ prompt }: GenerateRequest): number {
  if (prompt.kind !== "chat") return 0;
  return prompt.messages.flatMap(({ content }) => typeof content === "string" ? [] : content)
    .reduce((sum, part) => sum + (part.type === "image" ? part.bytes.length : 0), 0);
}

/** `scheduler` with a guard over it, or as it is where nothing is to be looked at. */
export function guarded(scheduler: MeasuredScheduler, options: ShadowOptions): MeasuredScheduler {
  return options.rate === 0 ? scheduler : new ShadowGuard(scheduler, options);
}
