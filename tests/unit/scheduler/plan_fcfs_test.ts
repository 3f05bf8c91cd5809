import assert from "node:assert/strict";
import { plan } from "../../../scheduler/plan.ts";
import type { PlanView, StepPlan } from "../../../scheduler/plan_view.ts";
import { entries, entryOf, planView, promptOf } from "../../support/plan_view.ts";

function step(view: Partial<PlanView>): StepPlan {
  return plan(planView({ policy: { kind: "fcfs" }, ...view })).step;
}

const decode = (count: number) => ({ ready: entries(count), company: false, batchRuns: false });
const stage = (...ready: ReturnType<typeof entryOf>[]) => ({ ready, company: false });
const prefill = (...ready: ReturnType<typeof promptOf>[]) => ({ ready, company: false });

Deno.test("planFcfs gives the next step of a prompt to who came first, in whatever stage it is", () => {
  assert.deepEqual(
    step({ compress: stage(entryOf(0)), prefill: prefill(promptOf(1)), encode: stage(entryOf(2)) }),
    { kind: "compress", items: [0] },
  );
  assert.deepEqual(
    step({ compress: stage(entryOf(1)), prefill: prefill(promptOf(0)), encode: stage(entryOf(2)) }),
    { kind: "prefill", chunks: [16] },
  );
  assert.deepEqual(
    step({ compress: stage(entryOf(2)), prefill: prefill(promptOf(1)), encode: stage(entryOf(0)) }),
    { kind: "encode", items: [0] },
  );
});

Deno.test("planFcfs takes one prompt at a time, whole", () => {
  const two = prefill(promptOf(0, { tokens: 300 }), promptOf(1));
  assert.deepEqual(step({ prefill: two }), { kind: "prefill", chunks: [300] });
});

Deno.test("planFcfs encodes all pictures of one request and none of another", () => {
  const ready = [entryOf(4, { tokens: 64 }), entryOf(4, { tokens: 64 }), entryOf(5, { tokens: 64 })];
  assert.deepEqual(step({ encode: stage(...ready) }), { kind: "encode", items: [0, 1] });
});

Deno.test("planFcfs gives running streams a token after each step of a prompt", () => {
  const view = { prefill: prefill(promptOf(5)), decode: decode(2) };
  assert.equal(step({ ...view, foreignSteps: 0 }).kind, "prefill");
  assert.deepEqual(step({ ...view, foreignSteps: 1 }), { kind: "decode", items: [0, 1] });
});

Deno.test("planFcfs decodes while the first prompt waits for pages, and lets none behind it begin", () => {
  const memory = { availablePages: 3, promisedPages: 0, totalPages: 1000 };
  const view = { prefill: prefill(promptOf(0, { pages: 9 }), promptOf(1, { pages: 1 })), memory };
  assert.equal(step({ ...view, decode: decode(1) }).kind, "decode");
  assert.equal(step(view).kind, "idle");
});

Deno.test("planFcfs goes on with one that has begun while the first prompt waits for its seat or its pages", () => {
  const waiting = { prefill: prefill(promptOf(0)), compress: stage(entryOf(1)), encode: stage(entryOf(2)) };
  assert.deepEqual(step({ ...waiting, seatsFree: 0 }), { kind: "compress", items: [0] });
  assert.equal(step({ ...waiting, compress: stage(), seatsFree: 0 }).kind, "idle");
});

Deno.test("planFcfs hands nothing over behind a step that runs", () => {
  assert.equal(step({ prefill: prefill(promptOf(0)), inFlight: "decode" }).kind, "idle");
});
