/** What goes into the scheduler and what comes out. Plain data. */
import type { RequestError } from "../lib/core/errors.ts";
import type { SamplingParams } from "../lib/engine/engine.ts";
import type {
  Compression as MethodCompression,
  MethodName,
  Quantisation,
  Size,
} from "../lib/engine/compress/method.ts";
import type { PoolGauges } from "../pool/mod.ts";

/** A part of a chat message after validation. `param` is its field path in the body, for error messages. */
export type ContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image"; readonly bytes: Uint8Array; readonly param: string };

export interface ChatMessage {
  readonly role: string;
  /** A plain string stays one for text models (templates can tell the difference). */
  readonly content: string | readonly ContentPart[];
}

export type Prompt =
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly param: string }
  | { readonly kind: "text"; readonly text: string; readonly param: string }
  | { readonly kind: "tokens"; readonly tokens: readonly number[]; readonly param: string };

/** What compresses a request's cache, and when. */
export interface Compression extends MethodCompression {
  /** Only when it pays or memory is short; otherwise as soon as the prompt is stored. */
  readonly underPressure: boolean;
  /** How much goes is left to the server, which takes less where answers suffer: `auto` with nothing beside it. */
  readonly adaptive: boolean;
  /** Shorter prompts stay as they are. */
  readonly minTokens: number;
  /** Messages whose tokens stay. */
  readonly protect: readonly Protected[];
}

/** What of a conversation compression leaves alone: all system (or developer) messages; the user's last one. */
export type Protected = "system" | "last_user";

/** One request to generate one completion. */
export interface GenerateRequest {
  /** The request id that stands in the access log. */
  readonly id: string;
  readonly prompt: Prompt;
  readonly sampling: SamplingParams;
  /** Tokens to generate at most; null takes the server's default. */
  readonly maxTokens: number | null;
  readonly maxTokensParam: string;
  readonly stop: readonly string[];
  readonly ignoreEos: boolean;
  /** null is `none`; undefined takes the server's default. */
  readonly compression: Compression | null | undefined;
  /** Lower runs first. */
  readonly priority: number;
  /** Whose request it is: tenants share the server fairly, and none sees the cached prefixes of another. */
  readonly tenant: string;
  /** Requests share cached prefixes only with those of equal salt. */
  readonly cacheSalt: string;
  /** It repeats a request that was answered, to compare; one that is put off is not told of as cancelled. */
  readonly shadow?: boolean;
}

/** Milliseconds of each stage and of the wait before it. A stage that was not visited is absent. */
export interface StageTimings {
  [stage: string]: { wait_ms: number; run_ms: number };
}

/** What a cache is compressed for: the request asked, memory was short, or it was expected to pay. */
export type CompressionReason = "request" | "memory" | "gain";

/**
 * Why a cache stayed as it was: it is shorter than `min_tokens`; all of it would be kept; the answer ended with its first
 * token; memory was not short and nothing was to be gained.
 */
export type UncompressedReason = "min_tokens" | "nothing_to_remove" | "answer_ended" | "no_need";

export interface CompressionUsage {
  /** What was done: `none` with ratio 0 where all slots stayed. */
  readonly method: MethodName;
  readonly size: Size;
  /** null where nothing was packed. */
  readonly quantise: Quantisation | null;
  readonly reason: CompressionReason | UncompressedReason;
  readonly promptTokens: number;
  /** Tokens that were stored when it was compressed: those of the prompt, and of the answer if memory was short later. */
  readonly storedTokens: number;
  /** Slots kept of these, averaged over layers. */
  readonly keptTokens: number;
  /**
   * Of the pages that these slots fill, as raw ones and as kept ones, the room to unpack a layer included. A contiguous
   * pool holds a request's whole run until it ends, whatever is stored in it.
   */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface TokenLogprob {
  readonly id: number;
  readonly text: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly {
    readonly id: number;
    readonly text: string;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
}

/** Events of one request, in order: admitted, token…, then exactly one of finished, cancelled, failed. */
export type GenerateEvent =
  | { readonly type: "admitted"; readonly promptTokenIds: readonly number[] }
  | {
    readonly type: "token";
    /** The sampled id. */
    readonly id: number;
    /** Whole characters that became certain with this token; may be empty. Never part of a stop string. */
    readonly text: string;
    readonly logprob: TokenLogprob | null;
  }
  | {
    readonly type: "finished";
    readonly reason: "stop" | "length";
    /** Text held back until now (an unfinished stop string, a broken character). */
    readonly text: string;
    readonly completionTokens: number;
    /** Prompt tokens whose keys and values were there already. */
    readonly cachedTokens: number;
    readonly compression: CompressionUsage | null;
    readonly timings: StageTimings;
  }
  | { readonly type: "cancelled" }
  | { readonly type: "failed"; readonly error: RequestError };

/** Gauges for `/metrics`, read when asked. */
export interface SchedulerSnapshot {
  readonly running: number;
  readonly waiting: number;
  readonly pagesTotal: number;
  readonly pagesUsed: number;
  readonly largestFreeBlockPages: number;
  readonly queues: Readonly<Record<string, number>>;
  readonly sequences: number;
  /** Sequences that wait for their reader. */
  readonly paused: number;
  readonly pool: PoolGauges;
}

/** The scheduler as the API sees it. */
export interface Scheduler {
  /**
   * Queues a request. Throws RequestError at once when the queue is full or the server drains; everything found later
   * arrives as a `failed` event. Aborting `signal` cancels it wherever it is. The iterator ends after the terminal event;
   * an iterator that is returned early cancels too.
   */
  submit(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent>;
  snapshot(): SchedulerSnapshot;
  /** Stops admission; resolves when the last running request has ended, or after cancelling the rest at the deadline. */
  drain(deadlineMs: number): Promise<void>;
  /** Throws AssertionError if the pool's bookkeeping is broken, or, when idle, if anything is still held. */
  checkIntegrity(): void;
  close(): Promise<void>;
}
