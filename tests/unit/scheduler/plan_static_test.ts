import assert from "node:assert/strict";
import { plan } from "../../../scheduler/plan.ts";
import type { PlanView, StepPlan } from "../../../scheduler/plan_view.ts";
import { entries, NOW_MS, planView, prompts } from "../../support/plan_view.ts";

/** p2c2d3. */
function step(view: Partial<PlanView>): StepPlan {
  const policy = { kind: "static", prefill: 2, compress: 2, decode: 3 } as const;
  return plan(planView({ policy, ...view })).step;
}

const decode = (count: number, company = false, batchRuns = false) => ({
  ready: entries(count),
  company,
  batchRuns,
});
const stage = (count: number, company = false) => ({ ready: entries(count), company });
const prefill = (count: number, company = false) => ({ ready: prompts(count), company });

Deno.test("planStatic begins a prefill of exactly its size when that is full", () => {
  assert.deepEqual(step({ prefill: prefill(3, true) }), { kind: "prefill", chunks: [16, 16] });
});

Deno.test("planStatic waits for a full batch as long as more can come, however long that is", () => {
  const waited = { nowMs: NOW_MS + 1e9 };
  assert.equal(step({ ...waited, prefill: prefill(1, true) }).kind, "idle");
  assert.equal(step({ ...waited, encode: stage(1, true) }).kind, "idle");
  assert.equal(step({ ...waited, compress: stage(1, true) }).kind, "idle");
  assert.equal(step({ ...waited, decode: decode(2, true) }).kind, "idle");
});

Deno.test("planStatic begins with what there is when no more can come", () => {
  assert.deepEqual(step({ prefill: prefill(1) }), { kind: "prefill", chunks: [16] });
  assert.deepEqual(step({ encode: stage(1) }), { kind: "encode", items: [0] });
  assert.deepEqual(step({ compress: stage(1) }), { kind: "compress", items: [0] });
  assert.deepEqual(step({ decode: decode(2) }), { kind: "decode", items: [0, 1] });
});

Deno.test("planStatic takes batches of its sizes and no larger ones", () => {
  assert.deepEqual(step({ encode: stage(5) }), { kind: "encode", items: [0, 1] });
  assert.deepEqual(step({ compress: stage(5) }), { kind: "compress", items: [0, 1] });
  assert.deepEqual(step({ decode: decode(5) }), { kind: "decode", items: [0, 1, 2] });
});

Deno.test("planStatic begins nothing else before a decode batch has run to its completion", () => {
  const waiting = { prefill: prefill(4), encode: stage(4), compress: stage(4) };
  assert.deepEqual(step({ ...waiting, decode: decode(2, true, true) }), { kind: "decode", items: [0, 1] });
  assert.equal(step({ ...waiting, decode: decode(2) }).kind, "prefill");
});

Deno.test("planStatic hands nothing over behind a step that runs", () => {
  assert.equal(step({ prefill: prefill(2), inFlight: "prefill" }).kind, "idle");
});
