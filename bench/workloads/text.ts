/** No pictures: what the default model says when it is greeted, asked about itself, or thanked. */
import type { LoadRequest } from "../load/request.ts";
import { equals } from "./scoring.ts";
import { lengthOf, type Workload } from "./workload.ts";

const TALK: readonly (readonly [readonly string[], string])[] = [
  [
    ["hello", "hi", "hey", "hello there", "hi there", "good morning", "good evening", "greetings"],
    "Hello! Send me an image and ask about the shapes in it.",
  ],
  [
    ["who are you", "what are you", "what is your name", "tell me about yourself", "introduce yourself"],
    "I am a tiny vision model trained on drawings of coloured shapes.",
  ],
  [
    ["what can you do", "help", "how can you help me", "what can i ask you", "how does this work"],
    "I can name, count, find and compare coloured shapes in one or more images.",
  ],
  [["thanks", "thank you", "thanks a lot", "well done", "good job"], "You are welcome."],
  [["bye", "goodbye", "see you later", "good night"], "Goodbye!"],
];

export const text: Workload = ({ count, draws, outputTokens }) => {
  const length = lengthOf(outputTokens);
  return Promise.resolve(Array.from({ length: count }, (): LoadRequest => {
    const [variants, answer] = draws.pick(TALK);
    return {
      group: "text",
      messages: [{ role: "user", content: draws.pick(variants) }],
      ...length,
      score: length.fixedLength ? null : equals(answer),
    };
  }));
};
