/** What a client sees of one streamed answer, and when. Times are the caller's; nothing here waits. */

/** Milliseconds of one request in a stage of the server, by the server's own clock. */
export interface StageTime {
  readonly waitMs: number;
  readonly runMs: number;
}
export type StageTimes = Readonly<Record<string, StageTime>>;

/** What the server's pool held for one prompt. */
export interface KvUsage {
  /** Slots of a layer that remain of the prompt, a mean over the layers. */
  readonly keptTokens: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface Answer {
  /**
   * First chunk whose text is not empty. In an answer that is all without text (tokens that a made-up vocabulary has no words
   * for) its first token; NaN for one without tokens.
   */
  readonly firstTextMs: number;
  /** Last chunk with a choice in it. */
  readonly lastMs: number;
  /** Gaps between chunks of generated tokens, from the first text on. */
  readonly gapsMs: readonly number[];
  readonly text: string;
  /** From `usage`; without one, the chunks. */
  readonly completionTokens: number;
  /** NaN without `usage`. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** null where the server tells none. */
  readonly stages: StageTimes | null;
  /** null where nothing was asked to be compressed. */
  readonly kv: KvUsage | null;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
    readonly kv_compression?: {
      readonly kept_tokens: number;
      readonly bytes_before: number;
      readonly bytes_after: number;
    } | null;
  } | null;
  readonly timings?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly code?: string | number | null; readonly message?: string };
}

/** The server ended the stream with an error under a status that says success. */
export class StreamError extends Error {
  constructor(readonly code: string) {
    super(`the stream ended with an error: ${code}`);
  }
}

export class AnswerMeter {
  #lastMs = NaN;
  #finished = false;
  /** When each token came, and which was the first with text; −1 before it. */
  readonly #tokenMs: number[] = [];
  #firstText = -1;
  #text = "";
  #usage: Chunk["usage"] = null;
  #stages: StageTimes | null = null;

  /** One `data:` payload of the stream. Throws StreamError. */
  take(payload: string, nowMs: number): void {
    if (payload === "[DONE]") return;
    const chunk = JSON.parse(payload) as Chunk;
    if (chunk.error !== undefined) throw new StreamError(String(chunk.error.code ?? "unknown"));
    this.#usage = chunk.usage ?? this.#usage;
    this.#stages = stagesOf(chunk.timings) ?? this.#stages;
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    this.#lastMs = nowMs;
    this.#finished ||= (choice.finish_reason ?? null) !== null;
    const content = choice.delta?.content ?? null;
    if (content === null) return;
    this.#text += content;
    // The last chunk may carry held-back text, and an empty one: it ends the answer and is no token of its own.
    if ((choice.finish_reason ?? null) !== null && content === "") return;
    if (this.#firstText < 0 && content !== "") this.#firstText = this.#tokenMs.length;
    this.#tokenMs.push(nowMs);
  }

  /** After the stream's end. Throws StreamError for one that broke off. */
  answer(): Answer {
    if (!this.#finished) throw new StreamError("cut_off");
    const kv = this.#usage?.kv_compression ?? null;
    const times = this.#tokenMs.slice(Math.max(0, this.#firstText));
    return {
      firstTextMs: times[0] ?? NaN,
      lastMs: this.#lastMs,
      gapsMs: times.slice(1).map((time, i) => time - times[i]),
      text: this.#text,
      completionTokens: this.#usage?.completion_tokens ?? this.#tokenMs.length,
      promptTokens: this.#usage?.prompt_tokens ?? NaN,
      cachedTokens: this.#usage?.prompt_tokens_details?.cached_tokens ?? 0,
      stages: this.#stages,
      kv: kv === null
        ? null
        : { keptTokens: kv.kept_tokens, bytesBefore: kv.bytes_before, bytesAfter: kv.bytes_after },
    };
  }
}

/** Other servers have a `timings` of their own: only stages with both times are taken. */
function stagesOf(timings: Chunk["timings"]): StageTimes | null {
  if (timings === undefined) return null;
  const stages: Record<string, StageTime> = {};
  for (const [stage, value] of Object.entries(timings)) {
    const { wait_ms: waitMs, run_ms: runMs } = Object(value) as { wait_ms?: unknown; run_ms?: unknown };
    if (typeof waitMs === "number" && typeof runMs === "number") stages[stage] = { waitMs, runMs };
  }
  return Object.keys(stages).length === 0 ? null : stages;
}
