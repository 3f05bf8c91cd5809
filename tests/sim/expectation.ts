/** What a request must be answered, computed from the request alone. */
import { keptOf } from "../../scheduler/compression.ts";
import { completionTokensMax } from "../../scheduler/room.ts";
import type { GenerateRequest } from "../../scheduler/messages.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { expectedTokens, featureContent } from "../support/scripted_engine.ts";
import { characterOf, EOS_ID, pixelsOf, ScriptedText } from "../support/scripted_text.ts";
import { IMAGE_TOKENS, MAX_MODEL_LEN } from "./scenario.ts";

export interface Expectation {
  readonly ids: readonly number[];
  readonly text: string;
  readonly reason: "stop" | "length";
}

/** Prompt tokens as the scripted engine sees them: a picture's are its features. */
function promptContents(request: GenerateRequest): number[] {
  if (request.prompt.kind !== "chat") throw new Error("the simulation sends conversations");
  const text = new ScriptedText();
  return request.prompt.messages.flatMap(({ content }) =>
    typeof content === "string"
      ? text.encode(content, "chat", [])
      : content.flatMap((part) =>
        part.type === "text"
          ? text.encode(part.text, "chat", [])
          : Array.from({ length: IMAGE_TOKENS }, (_, i) => featureContent(pixelsOf(part.bytes), i))
      )
  );
}

/** The answer to a request that is admitted by a server with these facts. */
export function expectedAnswer(request: GenerateRequest, facts: EngineFacts): Expectation {
  const prompt = promptContents(request);
  const asked = request.compression;
  const slots = asked ? keptOf(asked, prompt.length, facts.layers) : null;
  const kept = slots?.[0] ?? null;
  const fits = Math.min(MAX_MODEL_LEN - prompt.length, completionTokensMax(facts, prompt.length, slots));
  const maxTokens = request.maxTokens ?? fits;
  const { layers, vocabSize: vocab } = facts;
  const all = expectedTokens({ layers, vocab, prompt, kept, seed: request.sampling.seed[0], maxTokens });
  const ids: number[] = [];
  let text = "";
  for (const id of all) {
    ids.push(id);
    if (id === EOS_ID && !request.ignoreEos) return { ids, text, reason: "stop" };
    text += characterOf(id);
    const stop = Math.min(...request.stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0));
    if (stop !== Infinity) return { ids, text: text.slice(0, stop), reason: "stop" };
  }
  return { ids, text, reason: "length" };
}
