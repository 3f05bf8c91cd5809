/** What a request must be answered, computed from the request and the device's sizes alone. */
import type { ErrorCode } from "../../lib/core/errors.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { Buddy } from "../../pool/buddy.ts";
import type { GenerateRequest } from "../../scheduler/messages.ts";
import { keptOf } from "../../scheduler/compression.ts";
import { packingOf, packRule } from "../../scheduler/packing.ts";
import { completionTokensMax } from "../../scheduler/room.ts";
import { expectedTokens, featureContent } from "../support/scripted_engine.ts";
import { BAD_HEADER, characterOf, EOS_ID, pixelsOf, ScriptedText } from "../support/scripted_text.ts";
import { IMAGE_TOKENS, MAX_MODEL_LEN } from "./scenario.ts";
import { contentOf, promptTokens } from "./traffic.ts";

export interface Answer {
  readonly ids: readonly number[];
  readonly text: string;
  readonly reason: "stop" | "length";
}

/** Where a cache is written shorter, and how many slots remain of those stored then. */
export interface Shortening {
  readonly atTokens: number;
  readonly kept: number;
}

const text = new ScriptedText();

/** What one request must get. Memory pressure decides nothing but whether and where a cache is written shorter. */
export class Expectation {
  /** Why it can never be served, or null when it can. */
  readonly refusal: ErrorCode | null;
  readonly #answers = new Map<number, Answer>();
  #prompt: readonly number[] | null = null;

  constructor(readonly request: GenerateRequest, private readonly facts: EngineFacts) {
    this.refusal = this.#refusal();
  }

  /** Prompt tokens as the scripted engine sees them: a picture's are its features. */
  get prompt(): readonly number[] {
    return this.#prompt ??= contentOf(this.request).flatMap((part) =>
      part.type === "text"
        ? text.encode(part.text, "chat", [])
        : Array.from({ length: IMAGE_TOKENS }, (_, i) => featureContent(pixelsOf(part.bytes), i))
    );
  }

  /** Where its cache is written shorter when memory ran short at `pressureAt` stored tokens, or never (null). */
  shortening(pressureAt: number | null): Shortening | null {
    const { compression } = this.request;
    if (!compression) return null;
    const atTokens = compression.underPressure ? pressureAt : promptTokens(this.request);
    if (atTokens === null) return null;
    const kept = keptOf(compression, atTokens, this.facts.layers, []);
    return kept === null ? null : { atTokens, kept: kept[0] };
  }

  /** The answer, had memory run short at `pressureAt` stored tokens, or never. */
  answer(pressureAt: number | null = null): Answer {
    const shortening = this.shortening(pressureAt);
    const at = shortening?.atTokens ?? 0;
    const known = this.#answers.get(at) ?? this.#answer(shortening);
    this.#answers.set(at, known);
    return known;
  }

  #answer(shortening: Shortening | null): Answer {
    const { facts: { layers, vocabSize: vocab }, prompt, request: { sampling: { seed: [seed] } } } = this;
    const maxTokens = this.request.maxTokens ?? this.#completionMax();
    const kept = shortening?.kept ?? null, compressedSlots = shortening?.atTokens;
    return this.#cut(expectedTokens({ layers, vocab, prompt, kept, compressedSlots, seed, maxTokens }));
  }

  #cut(all: readonly number[]): Answer {
    const ids: number[] = [];
    let text = "";
    for (const id of all) {
      ids.push(id);
      if (id === EOS_ID && !this.request.ignoreEos) return { ids, text, reason: "stop" };
      text += characterOf(id);
      const stops = this.request.stop.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      if (stops.length > 0) return { ids, text: text.slice(0, Math.min(...stops)), reason: "stop" };
    }
    return { ids, text, reason: "length" };
  }

  /** Tokens that an answer may have: what the context and an empty pool leave. */
  #completionMax(): number {
    const prompt = promptTokens(this.request);
    const shortening = this.shortening(null);
    const kept = shortening === null ? null : new Uint32Array(this.facts.layers).fill(shortening.kept);
    const packing = kept === null ? null : packingOf(packRule(this.request.compression!, this.facts), kept);
    return Math.min(MAX_MODEL_LEN - prompt, completionTokensMax(this.facts, prompt, kept, 0, packing));
  }

  #refusal(): ErrorCode | null {
    const { request, facts } = this;
    const pictures = contentOf(request).filter((part) => part.type === "image").map(({ bytes }) => bytes);
    if (pictures.some((bytes) => bytes[0] === BAD_HEADER)) return "invalid_image_format";
    if (promptTokens(request) === 0) return "invalid_value";
    const rows = new Buddy(facts.embeddingRows);
    const roomy = [...new Set(pictures.map(String))].every(() => rows.allocateRun(IMAGE_TOKENS) !== null);
    return this.#completionMax() >= (request.maxTokens ?? 1) && roomy ? null : "context_length_exceeded";
  }
}
