/** The production scheduler and pool under an open load, in virtual time. */
import { setImmediate } from "node:timers/promises";
import { KvPool } from "../../pool/mod.ts";
import { createScheduler, defaultWindows } from "../../scheduler/mod.ts";
import type { Compression } from "../../scheduler/messages.ts";
import type { Policy } from "../../scheduler/policy.ts";
import { RequestError } from "../../lib/core/errors.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { EOS_ID, IMAGE_ID, ScriptedImages, ScriptedText } from "../../tests/support/scripted_text.ts";
import type { Answer } from "../load/meter.ts";
import type { Run, Sent } from "../load/run.ts";
import { CostEngine } from "./engine.ts";
import type { StepCosts } from "./costs.ts";
import { VirtualClock } from "./virtual_clock.ts";

export interface VirtualRequest {
  readonly atMs: number;
  /** Pictures with the same number are the same picture. */
  readonly picture: number;
  readonly textTokens: number;
  readonly completionTokens: number;
}

export interface World {
  readonly costs: StepCosts;
  readonly facts: EngineFacts;
  readonly imageTokens: number;
  readonly maxModelLen: number;
  readonly policy: Policy;
  readonly compression: Compression | null;
  readonly maxNumSeqs: number;
  readonly waitingRequestsMax: number;
  /**
   * Of everything that is not the device: parsing, pictures, the network. Milliseconds of a request whose first token has
   * just been made; all its tokens come so much later.
   */
  readonly overheadMs: () => number;
}

export interface Simulated {
  readonly run: Run;
  readonly busyMs: number;
}

const WAITING_TOKENS_MAX = Number.MAX_SAFE_INTEGER;

export async function simulateLoad(world: World, requests: readonly VirtualRequest[]): Promise<Simulated> {
  const clock = new VirtualClock();
  const engine = new CostEngine(world.facts, world.costs, clock);
  const scheduler = createScheduler({
    engine,
    text: new ScriptedText(),
    images: new ScriptedImages(),
    model: {
      maxModelLen: world.maxModelLen,
      eosTokenIds: [EOS_ID],
      imageTokenId: IMAGE_ID,
      imageTokens: world.imageTokens,
    },
    defaults: { maxTokens: null, compression: world.compression },
    windows: defaultWindows(world.maxNumSeqs, world.facts.stepTokensMax, world.facts.software),
    limits: {
      maxNumSeqs: world.maxNumSeqs,
      waitingRequestsMax: world.waitingRequestsMax,
      waitingTokensMax: WAITING_TOKENS_MAX,
      decodedImagesMax: world.waitingRequestsMax + world.maxNumSeqs,
    },
    policy: world.policy,
    pool: new KvPool(world.facts),
    clock,
  });
  const sent: Sent[] = [];
  let inFlight = 0, inFlightMax = 0;

  async function client(request: VirtualRequest, index: number): Promise<void> {
    const dueMs = request.atMs;
    inFlightMax = Math.max(inFlightMax, ++inFlight);
    const end = (reply: Sent["reply"]) => {
      inFlight--;
      const endMs = reply.kind === "answer" ? reply.answer.lastMs : clock.now();
      sent.push({ index, dueMs, sentMs: dueMs, endMs, reply });
    };
    try {
      const answer = await read(request, index);
      end(answer === null ? { kind: "error", code: "failed" } : { kind: "answer", answer });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      end({ kind: "refused", code: error.code });
    }
  }

  async function read(request: VirtualRequest, index: number): Promise<Answer | null> {
    // The first byte says what a scripted picture's file is like; 0 is a good one.
    const picture = new Uint8Array(new Uint32Array([0, request.picture]).buffer);
    const events = scheduler.submit({
      id: String(index),
      prompt: {
        kind: "chat",
        messages: [{
          role: "user",
          content: [
            { type: "image", bytes: picture, param: "messages" },
            { type: "text", text: textOf(request.textTokens, index) },
          ],
        }],
        param: "messages",
      },
      sampling: { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [0, 0], logprobs: null },
      maxTokens: request.completionTokens,
      maxTokensParam: "max_tokens",
      stop: [],
      ignoreEos: true,
      compression: undefined,
      priority: 0,
      tenant: "",
      cacheSalt: "",
    }, new AbortController().signal);
    let firstTextMs = NaN, lastMs = NaN, text = "", overheadMs = 0;
    const gapsMs: number[] = [];
    for await (const event of events) {
      if (event.type === "failed" || event.type === "cancelled") return null;
      if (event.type === "token") {
        const first = Number.isNaN(firstTextMs);
        if (first) overheadMs = world.overheadMs();
        const nowMs = clock.now() + overheadMs;
        if (first) firstTextMs = nowMs;
        else gapsMs.push(nowMs - lastMs);
        lastMs = nowMs;
        text += event.text;
      }
      if (event.type === "finished") {
        return {
          firstTextMs,
          lastMs,
          gapsMs,
          text,
          completionTokens: event.completionTokens,
          promptTokens: world.imageTokens + request.textTokens,
          cachedTokens: event.cachedTokens,
          kv: event.compression,
          stages: Object.fromEntries(
            Object.entries(event.timings).map(([stage, { wait_ms, run_ms }]) => [
              stage,
              { waitMs: wait_ms, runMs: run_ms },
            ]),
          ),
        };
      }
    }
    return null;
  }

  const clients = requests.map((request, index) =>
    new Promise<void>((resolve, reject) =>
      clock.after(request.atMs, () => void client(request, index).then(resolve, reject))
    )
  );
  let over = false;
  let failure: unknown = null;
  Promise.all(clients).then(() => over = true, (error) => failure = error);
  while (!over) {
    // Everything that can happen at this instant happens before time moves on.
    await setImmediate();
    if (failure !== null) throw failure;
    if (!over && !clock.fireNext()) {
      throw new Error("the simulation has come to rest with requests unanswered");
    }
  }
  const closed = scheduler.close();
  let ended = false;
  closed.then(() => ended = true);
  while (!ended) {
    await setImmediate();
    clock.fireNext();
  }
  return { run: { sent, startMs: 0, inFlightMax }, busyMs: engine.busyMs };
}

/** One token a character; no two requests begin alike. */
function textOf(tokens: number, index: number): string {
  const marks = index.toString(4).replace(/./g, (digit) => String.fromCharCode(60 + Number(digit)));
  return marks.padEnd(tokens, "a").slice(0, tokens);
}
