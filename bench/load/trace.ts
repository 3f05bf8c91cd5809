/** Traces: a line of JSON a request, with its time. */
import { equals } from "../workloads/scoring.ts";
import { ANSWER_TOKENS_MAX } from "../workloads/workload.ts";
import type { LoadRequest, Message } from "./request.ts";

interface TraceLine {
  /** From the run's start. */
  readonly at_ms: number;
  readonly request: {
    readonly messages: readonly Message[];
    readonly max_tokens?: number;
    readonly ignore_eos?: boolean;
  };
  /** The one right answer, if there is one. */
  readonly answer?: string;
  readonly group?: string;
}

export interface Trace {
  readonly requests: readonly LoadRequest[];
  /** Ascending. */
  readonly timesMs: Float64Array;
}

/** Throws with the number of the line that cannot be read. */
export function parseTrace(text: string): Trace {
  const lines = text.split("\n").map((line, i) => ({ line, number: i + 1 })).filter(({ line }) =>
    line.trim() !== ""
  );
  const read = lines.map(({ line, number }) => {
    let value: TraceLine;
    try {
      value = JSON.parse(line) as TraceLine;
    } catch {
      throw new Error(`line ${number} of the trace is no JSON`);
    }
    if (!(value.at_ms >= 0) || !Array.isArray(value.request?.messages)) {
      throw new Error(`line ${number} of the trace: expected at_ms (at least 0) and request.messages`);
    }
    return value;
  }).sort((a, b) => a.at_ms - b.at_ms);
  return {
    timesMs: Float64Array.from(read, ({ at_ms }) => at_ms),
    requests: read.map(({ request, answer, group }) => ({
      group: group ?? "trace",
      messages: request.messages,
      maxTokens: request.max_tokens ?? ANSWER_TOKENS_MAX,
      fixedLength: request.ignore_eos ?? false,
      score: answer === undefined ? null : equals(answer),
    })),
  };
}

/** Answers cannot be written: a request keeps the rule they are judged by, not the words. */
export function formatTrace({ requests, timesMs }: Trace): string {
  return requests.map(({ group, messages, maxTokens, fixedLength }, i) =>
    JSON.stringify(
      {
        at_ms: Math.round(timesMs[i] * 1000) / 1000,
        request: { messages, max_tokens: maxTokens, ...(fixedLength ? { ignore_eos: true } : {}) },
        group,
      } satisfies TraceLine,
    )
  ).join("\n") + "\n";
}
