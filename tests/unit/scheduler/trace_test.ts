import assert from "node:assert/strict";
import { planRecord } from "../../../scheduler/trace.ts";
import { entries, planView, prompts } from "../../support/plan_view.ts";

Deno.test("planRecord says what was chosen, what waits, and what was refused and why", () => {
  const view = planView({
    nowMs: 12.3456,
    inFlight: "encode",
    prefill: { ready: prompts(3), company: true },
    decode: { ready: entries(2), company: true, batchRuns: false },
    memory: { availablePages: 40, promisedPages: 7, totalPages: 100 },
  });
  const held = [
    { stage: "prefill", why: "pages", needed: 96, available: 40 } as const,
    { stage: "encode", why: "latency", needed: 10.126, available: 0.5 } as const,
  ];
  assert.deepEqual(planRecord(view, { step: { kind: "prefill", chunks: [16, 5] }, held }), {
    ms: 12.35,
    policy: "dynamic",
    step: "prefill",
    items: 2,
    tokens: 21,
    after: "encode",
    waiting: { encode: 0, prefill: 3, compress: 0, decode: 2 },
    pages: { available: 40, promised: 7, total: 100 },
    held: ["prefill pages 96>40", "encode latency 10.13>0.5"],
  });
});

Deno.test("planRecord counts the members of every kind of step", () => {
  const itemsOf = (step: Parameters<typeof planRecord>[1]["step"]) =>
    planRecord(planView(), { step, held: [] }).items;
  assert.equal(itemsOf({ kind: "decode", items: [3, 4, 5] }), 3);
  assert.equal(itemsOf({ kind: "shrink", items: [0] }), 1);
  assert.equal(itemsOf({ kind: "preempt", holder: 9 }), 1);
  assert.equal(itemsOf({ kind: "idle" }), 0);
});
