/** Who comes: the requests of a world and how their clients behave, drawn one after the other. */
import type { Random } from "../../lib/core/random.ts";
import type { Compression, ContentPart, GenerateRequest } from "../../scheduler/messages.ts";
import { SEQUENCE_STATES, type SequenceState } from "../../scheduler/sequence.ts";
import { BAD_HEADER, BAD_PIXELS, characterOf } from "../support/scripted_text.ts";
import { GONE_MS_MAX, READ_MS_MAX } from "./bounds.ts";
import { between, chance, pick } from "./draw.ts";
import { IMAGE_TOKENS, MAX_MODEL_LEN, type Scenario } from "./scenario.ts";
import { compressionBy } from "../support/compressions.ts";

export const LEAVE_STATES = SEQUENCE_STATES.filter((state) => state !== "ended");
export const LEAVE_WAYS = ["abort", "return"] as const;

/** How a client behaves. */
export interface ClientScript {
  readonly request: GenerateRequest;
  /** Pause after each event; a slow reader's is long. */
  readonly readMs: number;
  /** Reads no more after so many events, and is gone for good some time later. */
  readonly stops: { readonly afterEvents: number; readonly goneMs: number } | null;
  /** Goes away once its sequence is in that state, by its signal or by returning its iterator. */
  readonly leaves: {
    readonly state: SequenceState;
    /** While the device works on it, rather than while it waits. */
    readonly inStep: boolean;
    /** Tokens it has been given before. */
    readonly afterTokens: number;
    readonly how: typeof LEAVE_WAYS[number];
  } | null;
}

/** Quantisation alone. */
export const PACKED: Compression = {
  ...compressionBy("none", 0.5, { quantise: { bits: 8, tail: "group" } }),
  size: { budget: 1e6 },
};

const COMPRESSIONS: readonly (Compression | null)[] = [
  null,
  null,
  compressionBy("knorm", 0.5),
  compressionBy("streaming", 0.8),
  compressionBy("mean-pool", 0.75),
  compressionBy("streaming", 0.5, { underPressure: true }),
  compressionBy("mean-pool", 0.8, { underPressure: true }),
  compressionBy("streaming", 0.1, { quantise: { bits: 4, tail: "float" } }),
  PACKED,
];

export class Traffic {
  #count = 0;
  /** What prompts begin with. */
  readonly #prefixes: readonly string[];

  /** Answers so far that ran to their end. */
  answered = 0;

  constructor(private readonly random: Random, private readonly scenario: Scenario) {
    const { mixture: { prefixes }, sizes: { textTokensMax } } = scenario;
    this.#prefixes = Array.from(
      { length: prefixes },
      () => this.#text(between(random, 2, 1.2 * textTokensMax)),
    );
  }

  next(): ClientScript {
    const { random, scenario: { faults, sizes: { surge } } } = this;
    const request = this.#request();
    // One that has tokens and waits for prefill was preempted.
    const preempted = surge !== null && chance(random, 0.3);
    return {
      request,
      readMs: chance(random, faults.slow) ? between(random, 10, READ_MS_MAX) : 0,
      stops: chance(random, faults.stops)
        ? { afterEvents: between(random, 1, 6), goneMs: between(random, 20, GONE_MS_MAX) }
        : null,
      leaves: chance(random, faults.leaves)
        ? {
          state: preempted ? "prefill" : pick(random, LEAVE_STATES),
          inStep: chance(random, 0.5),
          afterTokens: preempted ? 1 : chance(random, 0.5) ? 0 : between(random, 0, 10),
          how: pick(random, LEAVE_WAYS),
        }
        : null,
    };
  }

  #request(): GenerateRequest {
    const { random, scenario: { faults, mixture, sizes } } = this;
    // Sometimes more than the pool allows.
    let maxTokens: number | null = chance(random, 0.15)
      ? null
      : between(random, sizes.maxTokensMin, sizes.maxTokensMax);
    let content: ContentPart[];
    if (this.#short) {
      maxTokens = 1;
      content = [{ type: "text", text: this.#text(between(random, 1, 4)) }];
    } else if (chance(random, faults.limits)) {
      maxTokens = between(random, 1, 8);
      content = [{ type: "text", text: this.#text(MAX_MODEL_LEN - maxTokens + between(random, 0, 1)) }];
    } else content = this.#content();
    return {
      id: `request-${this.#count++}`,
      prompt: { kind: "chat", messages: [{ role: "user", content }], param: "messages" },
      sampling: {
        temperature: 1,
        topP: 1,
        minP: 0,
        topK: 0,
        seed: [random.nextUint32(), 0],
        logprobs: chance(random, 0.2) ? 1 : null,
      },
      maxTokens,
      maxTokensParam: "max_tokens",
      stop: chance(random, 0.3) ? [this.#text(between(random, 1, 2))] : [],
      ignoreEos: chance(random, 0.5),
      compression: pick(random, COMPRESSIONS),
      priority: between(random, -mixture.priorities, mixture.priorities),
      tenant: `tenant-${between(random, 1, mixture.tenants)}`,
      cacheSalt: `salt-${between(random, 1, mixture.salts)}`,
    };
  }

  get #short(): boolean {
    const { surge } = this.scenario.sizes;
    return surge !== null && this.answered % (surge.short + surge.long) < surge.short;
  }

  #content(): ContentPart[] {
    const { random, scenario: { faults, mixture, sizes } } = this;
    const pictures = chance(random, 0.4) ? between(random, 1, 3) : 0;
    const text = this.#text(between(random, pictures > 0 ? 0 : 1, sizes.textTokensMax));
    const prefix = chance(random, mixture.prefixed) ? pick(random, this.#prefixes) : "";
    const parts: ContentPart[] = [{ type: "text", text: prefix + text }];
    for (let i = 0; i < pictures; i++) {
      // Where there are few, some are shared between requests, and some stand twice in one.
      const first = chance(random, faults.badPictures) ? pick(random, [BAD_HEADER, BAD_PIXELS]) : 0;
      const bytes = Uint8Array.of(first, between(random, 1, sizes.pictures));
      parts.push({ type: "image", bytes, param: `messages[0].content[${parts.length}]` });
      parts.push({ type: "text", text: this.#text(between(random, 0, 6)) });
    }
    return parts;
  }

  #text(length: number): string {
    return Array.from({ length }, () => characterOf(between(this.random, 3, 63))).join("");
  }
}

/** Parts of a request's prompt. */
export function contentOf(request: GenerateRequest): readonly ContentPart[] {
  if (request.prompt.kind !== "chat") throw new Error("the simulation sends conversations");
  return request.prompt.messages.flatMap(({ content }) =>
    typeof content === "string" ? [{ type: "text", text: content }] : content
  );
}

/** Tokens of a request's prompt. */
export function promptTokens(request: GenerateRequest): number {
  return contentOf(request).reduce(
    (sum, part) => sum + (part.type === "text" ? part.text.length : IMAGE_TOKENS),
    0,
  );
}
