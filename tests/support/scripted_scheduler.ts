/** A scheduler that says what a test wants, when it wants it, behind the real HTTP interface. */
import type { Hono } from "hono";
import { createApp } from "../../lib/api/app.ts";
import type { ApiOptions } from "../../lib/api/parts.ts";
import { type ServedModel, Service } from "../../lib/api/service.ts";
import type { AppEnv } from "../../lib/api/access_log.ts";
import { type Clock, systemClock } from "../../lib/core/clock.ts";
import type { Fields } from "../../lib/core/log.ts";
import { seededRandom } from "../../lib/core/random.ts";
import { KvPool } from "../../pool/mod.ts";
import type { GenerateEvent, GenerateRequest, Scheduler } from "../../scheduler/messages.ts";
import { SchedulerMetrics } from "../../scheduler/metrics.ts";

/** The events of one request. May wait between them, and may throw a RequestError at once as `submit` does. */
export type Script = (request: GenerateRequest, signal: AbortSignal) => AsyncIterableIterator<GenerateEvent>;

export class ScriptedScheduler implements Scheduler {
  readonly requests: GenerateRequest[] = [];
  /** Requests whose signal was aborted. */
  cancelled = 0;

  constructor(private readonly script: Script) {}

  submit(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent> {
    this.requests.push(request);
    signal.addEventListener("abort", () => this.cancelled++, { once: true });
    return this.script(request, signal);
  }

  readonly metrics = new SchedulerMetrics();

  snapshot() {
    return {
      running: 2,
      waiting: 3,
      pagesTotal: 64,
      pagesUsed: 16,
      largestFreeBlockPages: 32,
      queues: { prefill: 1, decode: 2 },
      sequences: 5,
      paused: 1,
      pool: new KvPool({ layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 64 }).gauges(),
    };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }
  checkIntegrity(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

export const scriptedModel: ServedModel = {
  name: "scripted",
  root: "scripted",
  created: 1_700_000_000,
  maxModelLen: 128,
  modalities: ["text", "image"],
  vocabSize: 1000,
  imageTokenId: 7,
  compressors: [],
  defaults: { temperature: 0.6, topP: 0.9, topK: 50, minP: 0, maxNewTokens: null },
};

export const finished = {
  type: "finished",
  reason: "stop",
  text: "",
  completionTokens: 2,
  cachedTokens: 0,
  compression: null,
  timings: { prefill: { wait_ms: 1, run_ms: 2 } },
} as const satisfies GenerateEvent;

/** A prompt of four ids (two of them a picture's), then "Hel" and "lo". */
export async function* hello(): AsyncGenerator<GenerateEvent> {
  yield await Promise.resolve({ type: "admitted", promptTokenIds: [1, 7, 7, 2] });
  yield { type: "token", id: 10, text: "Hel", logprob: null };
  yield { type: "token", id: 11, text: "lo", logprob: null };
  yield finished;
}

export interface ScriptedApp {
  readonly app: Hono<AppEnv>;
  readonly service: Service;
  readonly scheduler: ScriptedScheduler;
  /** Lines of the access log. */
  readonly lines: Fields[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** The real app over a scripted scheduler, loaded unless `load` is false. */
export function scriptedApp(
  script: Script = hello,
  { options, clock = systemClock, load = true }: {
    options?: Partial<ApiOptions>;
    clock?: Clock;
    load?: boolean;
  } = {},
): ScriptedApp {
  const scheduler = new ScriptedScheduler(script);
  const service = new Service();
  if (load) service.open({ scheduler, model: scriptedModel });
  const lines: Fields[] = [];
  const app = createApp({
    service,
    options: { apiKeys: [], allowedOrigins: [], allowedMediaHosts: [], ...options },
    clock,
    random: seededRandom(1),
    accessLog: (fields) => lines.push(fields),
  });
  return {
    app,
    service,
    scheduler,
    lines,
    post: async (path, body, headers = {}) =>
      await app.request(path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
  };
}

/** The data of each frame of a stream, parsed; `[DONE]` and comments as they stand. */
export async function framesOf(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text.split("\n\n").filter((frame) => frame !== "").map((frame) => {
    if (!frame.startsWith("data: ")) return frame;
    const data = frame.slice(6);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}
