/** One streaming request as a client sees it. */
import { systemClock } from "../lib/core/clock.ts";
import { pictureQuestion } from "../tests/support/question.ts";

export interface Sample {
  /** Request sent to first non-empty text. */
  readonly ttftMs: number;
  /** Request sent to the end of the stream. */
  readonly totalMs: number;
  readonly tokens: number;
  readonly text: string;
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
  readonly usage?: { readonly completion_tokens: number } | null;
}

/** Asks question number `index` about its picture and reads the stream to its end. */
export function streamOnce(url: string, index: number, tokens: number): Promise<Sample> {
  return streamAnswer(
    url,
    JSON.stringify({
      ...pictureQuestion(index),
      max_completion_tokens: tokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
}

/** A connection of its own for each request: some servers close theirs after a stream without saying so. */
const connections = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });

/** Sends a streaming chat request and reads the stream to its end. */
export async function streamAnswer(url: string, body: string): Promise<Sample> {
  const begun = systemClock.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    client: connections,
  });
  if (!response.ok || response.body === null) throw new Error(`${response.status} ${await response.text()}`);
  let ttftMs = NaN;
  let generated = 0;
  let text = "";
  for await (const chunk of chunks(response.body)) {
    text += chunk.choices[0]?.delta.content ?? "";
    if (Number.isNaN(ttftMs) && text !== "") ttftMs = systemClock.now() - begun;
    generated = chunk.usage?.completion_tokens ?? generated;
  }
  return { ttftMs, totalMs: systemClock.now() - begun, tokens: generated, text };
}

/** The JSON of every `data:` frame before `[DONE]`. */
async function* chunks(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Chunk> {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split("\n\n");
    rest = frames.pop()!;
    for (const frame of frames) {
      if (frame.startsWith("data: ") && frame !== "data: [DONE]") yield JSON.parse(frame.slice(6)) as Chunk;
    }
  }
}
