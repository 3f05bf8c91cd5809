/** What a teacher has shown: prompts as the model stores them, and how it answers over its whole cache. */
import type { Span } from "./span.ts";

/** One answer, to be given again over a shorter cache. */
export interface Sample {
  /** The prompt behind its last picture. */
  readonly tail: Span;
  /** RoPE position of the first answer token. */
  readonly position: number;
  /** The teacher's answer: what goes in; each row predicts the next token. */
  readonly tokens: Uint32Array;
  /** The teacher's output of every layer [tokens, hidden]. */
  readonly hidden: readonly Float32Array[];
}

/** Answers to questions that begin alike: the same pictures behind the same text. */
export interface Lesson {
  /** Up to the last picture; null for prompts without one. */
  readonly prefix: Span | null;
  readonly samples: readonly Sample[];
}
