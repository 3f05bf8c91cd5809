/**
 * `deno bench`: what a decision costs at 256 running and 1,000 waiting requests. The plan alone, on views as they are
 * when memory suffices and when it is short; the mailbox; and a whole decode step of the real scheduler over an engine that
 * takes no time. Of the latter the end prints how much is view and plan: that is what a device would wait for.
 */
import { systemClock } from "../lib/core/clock.ts";
import { KvPool } from "../pool/mod.ts";
import { StageCosts } from "../scheduler/costs.ts";
import { Mailbox } from "../scheduler/mailbox.ts";
import { createScheduler, defaultWindows } from "../scheduler/mod.ts";
import { plan } from "../scheduler/plan.ts";
import { parsePolicy } from "../scheduler/policy.ts";
import type { PlanRecord } from "../scheduler/trace.ts";
import { BATCHING_STAGES } from "../scheduler/window.ts";
import { entries, holderOf, planView, prompts } from "../tests/support/plan_view.ts";
import { scriptedFacts } from "../tests/support/scripted_engine.ts";
import { requestOf } from "../tests/support/scripted_service.ts";
import { ScriptedImages, ScriptedText } from "../tests/support/scripted_text.ts";
import { percentile } from "./percentile.ts";

const RUNNING = 256;
const WAITING = 1_000;

/** Costs of a device of which every size of step was seen. */
function knownCosts(): StageCosts {
  const costs = new StageCosts();
  for (const stage of BATCHING_STAGES) {
    for (let size = 1; size <= 4096; size *= 2) costs.observe(stage, size, 5 + size / 50);
  }
  return costs;
}

const windows = defaultWindows(RUNNING, 4096);
const roomy = planView({
  costs: knownCosts(),
  windows,
  seatsFree: 64,
  foreignSteps: 1,
  sinceDecodeMs: 20,
  encode: { ready: entries(32, { tokens: 64 }), company: true },
  prefill: { ready: prompts(WAITING, { tokens: 90, pages: 48 }), company: true },
  compress: { ready: [], company: false },
  decode: { ready: entries(RUNNING), company: true, batchRuns: false },
  memory: { availablePages: 100_000, promisedPages: 5_000, totalPages: 200_000 },
});
const short = {
  ...roomy,
  memory: { availablePages: 100, promisedPages: 5_000, totalPages: 200_000 },
  decode: { ready: entries(RUNNING, { pages: 24 }), company: true, batchRuns: false },
  compressible: entries(RUNNING, { tokens: 500, pages: 200 }),
  holders: Array.from({ length: RUNNING }, (_, order) => holderOf(order)),
};
const PLANS = "plan, 256 running and 1,000 waiting";

Deno.bench({ group: PLANS, name: "dynamic", baseline: true, fn: () => void plan(roomy) });
Deno.bench({ group: PLANS, name: "dynamic, memory is short", fn: () => void plan(short) });
for (const text of ["fcfs", "static:p4c4d8"]) {
  const policy = parsePolicy(text)!;
  Deno.bench({ group: PLANS, name: text, fn: () => void plan({ ...roomy, policy }) });
}

const mailbox = new Mailbox<number>("bench", 4096);
Deno.bench({
  group: "mailbox",
  name: "put and take, empty before",
  baseline: true,
  fn() {
    mailbox.put(1);
    mailbox.take();
  },
});
Deno.bench({
  group: "mailbox",
  name: "put 1,000, then take 1,000",
  fn() {
    for (let message = 0; message < 1000; message++) mailbox.put(message);
    while (mailbox.take() !== undefined);
  },
});

/** The scheduler with all seats taken, on an engine that ends a step when it is told to. */
class Full {
  /** Milliseconds of view and plan of each decode step. */
  readonly decisionMs: number[] = [];
  #viewedMs = 0;
  /** Steps that run, oldest first. */
  readonly #steps: (() => void)[] = [];
  #decided: (idle: boolean) => void = () => {};
  readonly #scheduler;

  constructor() {
    // 24 layers of a model of 1.5 B parameters, 16 tokens a page.
    const facts = scriptedFacts({ layers: 24, pageSlots: 16, pageCount: 250_000, stepTokensMax: 4096 });
    const forward = async (sequences: readonly { readonly sampling: unknown }[]) => {
      await new Promise<void>((resolve) => this.#steps.push(resolve));
      return sequences.map(({ sampling }) => sampling === null ? null : { id: 5, logprob: null, top: [] });
    };
    this.#scheduler = createScheduler({
      engine: {
        facts,
        forward,
        encode: () => Promise.resolve(),
        compress: () => Promise.resolve(),
        liveBytes: () => Promise.resolve(0),
        close: () => Promise.resolve(),
      },
      text: new ScriptedText(),
      images: new ScriptedImages(),
      model: { maxModelLen: 100_000, eosTokenIds: [], imageTokenId: null, imageTokens: 0, compressors: [] },
      defaults: { maxTokens: null, compression: null },
      windows,
      limits: { maxNumSeqs: RUNNING, waitingRequestsMax: 2 * WAITING, streamEventsMax: 1_000_000 },
      clock: { ...systemClock, now: () => this.#viewedMs = performance.now() },
      pool: new KvPool(facts),
      onPlan: (record) => this.#note(record),
    });
  }

  /** Submits everything and lets the first ones take all seats. */
  async fill(): Promise<void> {
    for (let index = 0; index < RUNNING + WAITING; index++) {
      const prompt = String(index).padStart(90, "P");
      this.#scheduler.submit(requestOf(prompt, { maxTokens: 4_000 }), new AbortController().signal);
    }
    while (this.decisionMs.length === 0) await this.step();
  }

  /** From the end of the steps that run to the decision of the next one. */
  async step(): Promise<void> {
    for (let idle = true; idle;) {
      const decided = new Promise<boolean>((resolve) => this.#decided = resolve);
      this.#steps.shift()?.();
      idle = await decided;
    }
  }

  #note({ step, waiting }: PlanRecord): void {
    // The clock is read when a view begins, and this is called when its plan is made.
    const ms = performance.now() - this.#viewedMs;
    if (step === "decode" && waiting.decode === RUNNING && waiting.prefill > 0) this.decisionMs.push(ms);
    this.#decided(step === "idle");
  }
}

let full: Full | null = null;
Deno.bench({
  group: "scheduler, 256 running and 1,000 waiting",
  name: "a whole decode step but for the device",
  n: 400,
  warmup: 100,
  async fn(bench) {
    if (full === null) {
      full = new Full();
      await full.fill();
    }
    bench.start();
    await full.step();
    bench.end();
  },
});

globalThis.addEventListener("unload", () => {
  if (full === null) return;
  const sorted = full.decisionMs.slice(-400).sort((a, b) => a - b);
  const us = (share: number) => (1000 * percentile(sorted, share)).toFixed(0);
  console.log(`view and plan of a decode step: p50 ${us(0.5)} µs, p99 ${us(0.99)} µs of ${sorted.length}`);
});
