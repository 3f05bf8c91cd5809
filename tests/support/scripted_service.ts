/** The real scheduler over scripted parts, for tests of one request or a few. */
import type { Clock } from "../../lib/core/clock.ts";
import { systemClock } from "../../lib/core/clock.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { FEATURE_ROW } from "../../lib/ops/backend.ts";
import type { ContentPart, GenerateEvent, GenerateRequest } from "../../scheduler/messages.ts";
import {
  createScheduler,
  defaultWindows,
  type MeasuredScheduler,
  type ModelFacts,
  type SchedulerOptions,
} from "../../scheduler/mod.ts";
import { type ScriptedBehaviour, ScriptedEngine, scriptedFacts } from "./scripted_engine.ts";
import { EOS_ID, IMAGE_ID, ScriptedImages, ScriptedText } from "./scripted_text.ts";

export interface ScriptedServiceOptions {
  readonly facts?: Partial<EngineFacts>;
  readonly behaviour?: Partial<ScriptedBehaviour>;
  readonly model?: Partial<ModelFacts>;
  readonly clock?: Clock;
  readonly scheduler?: Partial<Omit<SchedulerOptions, "engine" | "text" | "images" | "model" | "clock">>;
}

export interface ScriptedService {
  readonly scheduler: MeasuredScheduler;
  readonly engine: ScriptedEngine;
  readonly images: ScriptedImages;
  /** Members of each device step so far, in order: `prefill 2`. */
  readonly steps: readonly string[];
}

export function scriptedService(options: ScriptedServiceOptions = {}): ScriptedService {
  const facts = scriptedFacts(options.facts);
  const steps: string[] = [];
  const engine = new ScriptedEngine(facts, {
    delay: () => Promise.resolve(),
    fails: () => false,
    notFinite: () => false,
    ...options.behaviour,
  });
  const images = new ScriptedImages();
  const scheduler = createScheduler({
    engine: recording(engine, steps),
    text: new ScriptedText(),
    images,
    model: {
      maxModelLen: 128,
      eosTokenIds: [EOS_ID],
      imageTokenId: IMAGE_ID,
      imageTokens: 5,
      compressors: [],
      ...options.model,
    },
    defaults: { maxTokens: null, compression: null },
    windows: defaultWindows(8, facts.stepTokensMax),
    limits: { maxNumSeqs: 8 },
    clock: options.clock ?? systemClock,
    onStepFailure: () => {},
    ...options.scheduler,
  });
  return { scheduler, engine, images, steps };
}

function recording(engine: ScriptedEngine, steps: string[]): SchedulerOptions["engine"] {
  return {
    facts: engine.facts,
    encode(images) {
      steps.push(`encode ${images.length}`);
      return engine.encode(images);
    },
    forward(sequences) {
      const prompts = sequences.some(({ tokens, sampled }) => sampled === 0 || tokens[0] >= FEATURE_ROW);
      steps.push(`${prompts ? "prefill" : "decode"} ${sequences.length}`);
      return engine.forward(sequences);
    },
    compress(sequences) {
      steps.push(`compress ${sequences.length}`);
      return engine.compress(sequences);
    },
    liveBytes: () => engine.liveBytes(),
    close: () => engine.close(),
  };
}

export function requestOf(
  content: string | readonly ContentPart[],
  fields: Partial<GenerateRequest> = {},
): GenerateRequest {
  return {
    id: "request",
    prompt: { kind: "chat", messages: [{ role: "user", content }], param: "messages" },
    sampling: { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [7, 0], logprobs: null },
    maxTokens: 8,
    maxTokensParam: "max_tokens",
    stop: [],
    ignoreEos: true,
    compression: undefined,
    priority: 0,
    tenant: "",
    cacheSalt: "",
    ...fields,
  };
}

export async function collect(events: AsyncIterable<GenerateEvent>): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** Runs one request to its end and returns what it was answered. */
export async function answerTo(
  scheduler: MeasuredScheduler,
  request: GenerateRequest,
): Promise<{ ids: number[]; text: string; end: GenerateEvent }> {
  const events = await collect(scheduler.submit(request, new AbortController().signal));
  const tokens = events.filter((event) => event.type === "token");
  const end = events[events.length - 1];
  const held = end.type === "finished" ? end.text : "";
  return { ids: tokens.map(({ id }) => id), text: tokens.map(({ text }) => text).join("") + held, end };
}
