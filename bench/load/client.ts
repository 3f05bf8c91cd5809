/** One streaming request over HTTP. */
import type { Clock } from "../../lib/core/clock.ts";
import { type Answer, AnswerMeter, StreamError } from "./meter.ts";

export interface Target {
  /** Without `/v1`. */
  readonly url: string;
  readonly apiKey: string | null;
}

export type Reply =
  | { readonly kind: "answer"; readonly answer: Answer }
  /** 429 or 503: the server said no before it began. */
  | { readonly kind: "refused"; readonly code: string }
  | { readonly kind: "error"; readonly code: string }
  /** Given up by this program. */
  | { readonly kind: "abandoned" };

const REFUSALS: ReadonlySet<number> = new Set([429, 503]);

/** Bodies of errors are read up to this many characters, for nothing but their code. */
const ERROR_CHARACTERS_MAX = 65_536;

export class LoadClient implements Disposable {
  /** A connection of its own for each request: some servers close theirs after a stream without saying so. */
  readonly #connections = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  readonly #headers: Headers;

  constructor(readonly target: Target, private readonly clock: Clock) {
    this.#headers = new Headers({ "content-type": "application/json" });
    if (target.apiKey !== null) this.#headers.set("authorization", `Bearer ${target.apiKey}`);
  }

  /** Reads the stream to its end. Never throws for what a server does. `stop` gives the request up. */
  async send(body: Uint8Array<ArrayBuffer>, timeoutMs: number, stop: AbortSignal): Promise<Reply> {
    const late = new AbortController();
    const inTime = this.clock.after(timeoutMs, () => late.abort());
    const signal = AbortSignal.any([stop, late.signal]);
    try {
      const response = await fetch(`${this.target.url}/v1/chat/completions`, {
        method: "POST",
        headers: this.#headers,
        body,
        signal,
        client: this.#connections,
      });
      if (response.ok && response.body !== null) {
        return { kind: "answer", answer: await this.#read(response.body) };
      }
      const code = `${response.status}${errorCode((await response.text()).slice(0, ERROR_CHARACTERS_MAX))}`;
      return { kind: REFUSALS.has(response.status) ? "refused" : "error", code };
    } catch (error) {
      if (stop.aborted) return { kind: "abandoned" };
      if (late.signal.aborted) return { kind: "error", code: "timeout" };
      return { kind: "error", code: error instanceof StreamError ? `stream ${error.code}` : "connection" };
    } finally {
      inTime();
    }
  }

  /** The name under which the server lists its first model; null when it lists none. */
  async firstModel(): Promise<string | null> {
    const response = await fetch(`${this.target.url}/v1/models`, {
      headers: this.#headers,
      client: this.#connections,
    });
    const list = await response.json() as { readonly data?: readonly { readonly id: string }[] };
    return list.data?.[0]?.id ?? null;
  }

  async #read(body: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Answer> {
    const meter = new AnswerMeter();
    let rest = "";
    for await (const text of body.pipeThrough(new TextDecoderStream())) {
      const nowMs = this.clock.now();
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith("data:")) meter.take(line.slice(5).trim(), nowMs);
      }
    }
    return meter.answer();
  }

  [Symbol.dispose](): void {
    this.#connections.close();
  }
}

/** " queue_full" of an OpenAI error body; "" where there is none. */
function errorCode(text: string): string {
  try {
    const { error } = JSON.parse(text) as { readonly error?: { readonly code?: string | number | null } };
    return error?.code === undefined || error.code === null ? "" : ` ${error.code}`;
  } catch {
    return "";
  }
}
