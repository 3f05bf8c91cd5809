/** Text that says nothing about any picture, in words that the default model knows. */
import type { Draws } from "../draws.ts";

const SENTENCES = [
  "send me an image and ask about the shapes in it.",
  "i can name, count, find and compare coloured shapes in one or more images.",
  "you are a helpful assistant.",
  "answer the question about the image.",
  "you answer questions about images.",
  "be helpful and honest.",
  "answer with a single word or phrase.",
] as const;

/** About `words` words, whole sentences cut at the end. */
export function filler(draws: Draws, words: number): string {
  const out: string[] = [];
  while (out.length < words) out.push(...draws.pick(SENTENCES).split(" "));
  return out.slice(0, words).join(" ");
}
