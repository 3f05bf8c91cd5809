/** One request of a workload, made before the run. */

/** 0 to 1: how right an answer is. */
export type Score = (said: string) => number;

export type Part =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } };

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly Part[];
}

export interface LoadRequest {
  /** What it counts with in tables of right answers: a kind of question, a task. */
  readonly group: string;
  readonly messages: readonly Message[];
  readonly maxTokens: number;
  /** Generates `maxTokens` tokens whatever the model would say. */
  readonly fixedLength: boolean;
  /** null where there is nothing to compare with. */
  readonly score: Score | null;
}

/** What the server at hand wants beside the request. */
export interface Dialect {
  /** null leaves it out. */
  readonly model: string | null;
  /** Asks for the server's own stage times. Others than this project's may refuse a field they do not know. */
  readonly timings: boolean;
  /** Further fields of every body, such as `kv_compression`. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The body as it is sent: streamed, greedy, usage at the end. */
export function encodeRequest(request: LoadRequest, dialect: Dialect): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify({
    ...(dialect.model === null ? {} : { model: dialect.model }),
    messages: request.messages,
    temperature: 0,
    // The older name, which every compatible server knows.
    max_tokens: request.maxTokens,
    ...(request.fixedLength ? { ignore_eos: true } : {}),
    stream: true,
    stream_options: { include_usage: true },
    ...(dialect.timings ? { return_timings: true } : {}),
    ...dialect.fields,
  }));
}
