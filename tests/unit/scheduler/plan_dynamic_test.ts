import assert from "node:assert/strict";
import { StageCosts } from "../../../scheduler/costs.ts";
import { plan } from "../../../scheduler/plan.ts";
import type { Held, PlanView, StepPlan } from "../../../scheduler/plan_view.ts";
import { entries, NOW_MS, planView, promptOf, prompts } from "../../support/plan_view.ts";

function step(view: Partial<PlanView>): StepPlan {
  return plan(planView(view)).step;
}

function heldBack(view: Partial<PlanView>): readonly Held[] {
  return plan(planView(view)).held;
}

const decode = (count: number) => ({ ready: entries(count), company: false, batchRuns: false });
const stage = (count: number, company = false) => ({ ready: entries(count), company });
const prefill = (count: number, company = false) => ({ ready: prompts(count), company });

/** Costs of `ms` a prompt token, seen at 16 and at 256 tokens. */
function tokenCosts(ms: number): StageCosts {
  const costs = new StageCosts();
  for (const size of [16, 256]) costs.observe("prefill", size, ms * size);
  return costs;
}

Deno.test("planDynamic is idle when nothing waits", () => {
  assert.deepEqual(step({}), { kind: "idle" });
});

Deno.test("planDynamic compresses first, then prefills, then encodes, then decodes", () => {
  const all = { encode: stage(1), prefill: prefill(1), compress: stage(1), decode: decode(1) };
  assert.equal(step(all).kind, "compress");
  assert.equal(step({ ...all, compress: stage(0) }).kind, "prefill");
  assert.equal(step({ ...all, compress: stage(0), prefill: prefill(0) }).kind, "encode");
  assert.equal(step({ decode: decode(3) }).kind, "decode");
});

Deno.test("planDynamic encodes first where the picture comes before every prompt in the order of service", () => {
  const [first, second] = [promptOf(0), promptOf(1)];
  const view = (picture: typeof first, prompt: typeof first) => ({
    encode: { ready: [picture], company: false },
    prefill: { ready: [prompt], company: false },
  });
  assert.equal(step(view(first, second)).kind, "encode");
  assert.equal(step(view(second, first)).kind, "prefill");
});

Deno.test("planDynamic decodes every running stream in one step", () => {
  assert.deepEqual(step({ decode: decode(3) }), { kind: "decode", items: [0, 1, 2] });
});

Deno.test("planDynamic cuts a long prompt to what the target of inter-token latency leaves", () => {
  const view = {
    decode: decode(1),
    prefill: { ready: [promptOf(0, { tokens: 1000 })], company: false },
    costs: tokenCosts(0.5),
    itlTargetMs: 100,
  };
  assert.deepEqual(step({ ...view, sinceDecodeMs: 0 }), { kind: "prefill", chunks: [200] });
  assert.deepEqual(step({ ...view, sinceDecodeMs: 60 }), { kind: "prefill", chunks: [80] });
  // Nobody waits for a token: the whole prompt.
  assert.deepEqual(step({ ...view, decode: decode(0) }), { kind: "prefill", chunks: [1000] });
});

Deno.test("planDynamic decodes once steps of other stages have used the target up", () => {
  const view = { decode: decode(1), prefill: prefill(1), costs: tokenCosts(10), foreignSteps: 1 };
  assert.equal(step({ ...view, sinceDecodeMs: 90 }).kind, "decode");
  assert.deepEqual(heldBack({ ...view, sinceDecodeMs: 90 }), [
    { stage: "prefill", why: "latency", needed: 160, available: 10 },
  ]);
});

Deno.test("planDynamic lets one short foreign step follow each decode step, however slow the device", () => {
  const view = {
    decode: decode(1),
    prefill: { ready: [promptOf(0, { tokens: 1000 })], company: false },
    costs: tokenCosts(50),
    sinceDecodeMs: 90,
  };
  assert.deepEqual(step({ ...view, foreignSteps: 0 }), { kind: "prefill", chunks: [16] });
  assert.equal(step({ ...view, foreignSteps: 1 }).kind, "decode");
});

Deno.test("planDynamic takes no more prompts than reach the knee, and cuts none of them there", () => {
  // 16 tokens cost 16 ms, 32 cost 32: the knee is at 32 tokens.
  const costs = new StageCosts();
  for (const size of [16, 32, 64]) costs.observe("prefill", size, size);
  assert.equal(costs.knee("prefill"), 32);
  const ready = [20, 20, 20].map((tokens, order) => promptOf(order, { tokens }));
  assert.deepEqual(step({ prefill: { ready, company: false }, costs }), {
    kind: "prefill",
    chunks: [20, 20],
  });
});

Deno.test("planDynamic takes no more pictures than reach the knee", () => {
  const costs = new StageCosts();
  for (const size of [1, 2, 4]) costs.observe("encode", size, 10 * size);
  assert.deepEqual(step({ encode: stage(5), costs }), { kind: "encode", items: [0, 1] });
});

Deno.test("planDynamic lets a batch wait for company while the device has other work", () => {
  const fresh = { ready: prompts(1, { sinceMs: NOW_MS - 1 }), company: true };
  const busy = { prefill: fresh, decode: decode(1) };
  assert.equal(step(busy).kind, "decode");
  assert.deepEqual(heldBack(busy), [{ stage: "prefill", why: "company", needed: 5, available: 1 }]);
  const waited = { ready: prompts(1, { sinceMs: NOW_MS - 5 }), company: true };
  assert.equal(step({ ...busy, prefill: waited }).kind, "prefill");
});

Deno.test("planDynamic lets an idle device wait for no window", () => {
  const fresh = { ready: prompts(1, { sinceMs: NOW_MS }), company: true };
  assert.equal(step({ prefill: fresh }).kind, "prefill");
  assert.equal(step({ prefill: fresh, inFlight: "encode" }).kind, "idle", "behind a step there is time");
});

Deno.test("planDynamic never puts a second decode step behind one that runs", () => {
  const running = { inFlight: "decode", decodeInFlight: true } as const;
  assert.equal(step({ ...running, decode: decode(2) }).kind, "idle");
  assert.equal(step({ ...running, decode: decode(2), prefill: prefill(1) }).kind, "prefill");
});

Deno.test("planDynamic goes on with other work when prompts wait for pages, and says so", () => {
  const view = {
    prefill: prefill(1),
    encode: stage(1),
    memory: { availablePages: 3, promisedPages: 0, totalPages: 1000 },
  };
  assert.equal(step(view).kind, "encode");
  assert.deepEqual(heldBack(view), [{ stage: "prefill", why: "pages", needed: 4, available: 3 }]);
});
