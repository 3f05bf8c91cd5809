/** The text of an answer's body, piece by piece; whole and streamed answers differ here and nowhere else. */
import { unixSeconds } from "../core/clock.ts";
import type { RequestError } from "../core/errors.ts";
import type { GenerateEvent, StageTimings } from "../../scheduler/messages.ts";
import type { AnswerShape } from "./answer_shape.ts";
import type { AnswerStyle } from "./ask.ts";
import type { Silence } from "./body_stream.ts";
import type { Loaded, ServedModel } from "./service.ts";
import { usage } from "./usage.ts";

export type Token = Extract<GenerateEvent, { type: "token" }>;
export type Finished = Extract<GenerateEvent, { type: "finished" }>;

/** What is asked, of whom, and how the answer is to look. */
export interface AnswerContext {
  readonly id: string;
  readonly loaded: Loaded;
  readonly style: AnswerStyle;
  readonly shape: AnswerShape;
}

export interface AnswerBody {
  readonly headers: Readonly<Record<string, string>>;
  /** What is written while nothing comes; null where nothing may be. */
  readonly silence: Silence | null;
  /** Pieces to write now. */
  token(event: Token, promptTokenIds: readonly number[]): readonly string[];
  finished(event: Finished, promptTokenIds: readonly number[]): readonly string[];
  /** What tells the reader of an error under a status that says success. */
  failed(error: RequestError): string;
}

/** The fields that every object of one answer has. */
export function identity({ id, loaded }: AnswerContext) {
  return { id, created: unixSeconds(), model: loaded.model.name };
}

export function usageOf(end: Finished, promptTokenIds: readonly number[], model: ServedModel) {
  return usage(promptTokenIds, model.imageTokenId, end.completionTokens, end.cachedTokens, end.compression);
}

/** Milliseconds to whole microseconds: the clock says no more. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

export function timingsOf({ timings }: Finished): StageTimings {
  return Object.fromEntries(
    Object.entries(timings).map(([stage, { wait_ms, run_ms }]) => [
      stage,
      { wait_ms: rounded(wait_ms), run_ms: rounded(run_ms) },
    ]),
  );
}
