import assert from "node:assert/strict";
import { plan, type PlanView, type PrefillEntry, type StageView } from "../../../scheduler/plan.ts";
import { defaultWindows } from "../../../scheduler/window.ts";

const NOTHING: StageView = { ready: [], company: false };

function viewOf(view: Partial<PlanView>): PlanView {
  return {
    nowMs: 1000,
    last: null,
    windows: defaultWindows(8, 64, false),
    stepTokensMax: 64,
    encode: NOTHING,
    prefill: { ready: [], company: false },
    compress: NOTHING,
    decode: NOTHING,
    seatsFree: 8,
    pagesFree: 100,
    ...view,
  };
}

function waiting(count: number, sinceMs = 1000, tokens = 1): StageView {
  return { ready: Array.from({ length: count }, () => ({ tokens, sinceMs })), company: false };
}

function prompts(...entries: [tokens: number, quotaPages: number][]): StageView<PrefillEntry> {
  return {
    ready: entries.map(([tokens, quotaPages]) => ({ tokens, quotaPages, sinceMs: 1000 })),
    company: false,
  };
}

Deno.test("plan is idle when nothing waits", () => {
  assert.deepEqual(plan(viewOf({})), { kind: "idle" });
});

Deno.test("plan runs a lone prompt at once when nothing else is on its way", () => {
  assert.deepEqual(plan(viewOf({ prefill: prompts([10, 4]) })), { kind: "prefill", chunks: [10] });
});

Deno.test("plan waits until the first member's time is up while company is on its way", () => {
  const prefill = { ...prompts([10, 4]), company: true };
  assert.deepEqual(plan(viewOf({ prefill })), { kind: "wait", untilMs: 1005 });
  assert.deepEqual(plan(viewOf({ prefill, nowMs: 1005 })), { kind: "prefill", chunks: [10] });
});

Deno.test("plan does not wait for company when the window is full", () => {
  const prefill = { ...prompts([40, 4], [24, 4]), company: true };
  assert.deepEqual(plan(viewOf({ prefill })), { kind: "prefill", chunks: [40, 24] });
});

Deno.test("plan decodes instead of waiting", () => {
  const prefill = { ...prompts([10, 4]), company: true };
  assert.deepEqual(plan(viewOf({ prefill, decode: waiting(3) })), { kind: "decode", items: 3 });
});

Deno.test("plan waits for the earliest of several windows", () => {
  const view = viewOf({
    encode: { ...waiting(1, 999), company: true },
    prefill: { ...prompts([10, 4]), company: true },
  });
  assert.deepEqual(plan(view), { kind: "wait", untilMs: 1001 });
});

Deno.test("plan cuts a long prompt at the tokens of a step and goes on with the rest", () => {
  assert.deepEqual(plan(viewOf({ prefill: prompts([100, 4]) })), { kind: "prefill", chunks: [64] });
  assert.deepEqual(plan(viewOf({ prefill: prompts([36, 0], [50, 4]) })), {
    kind: "prefill",
    chunks: [36, 28],
  });
});

Deno.test("plan lets nobody overtake a prompt that waits for pages", () => {
  const prefill = prompts([10, 60], [10, 60], [10, 1]);
  assert.deepEqual(plan(viewOf({ prefill })), { kind: "prefill", chunks: [10] });
  assert.deepEqual(plan(viewOf({ prefill, pagesFree: 10 })), { kind: "idle" });
});

Deno.test("plan begins no prompt without a seat, but goes on with one that has begun", () => {
  assert.deepEqual(plan(viewOf({ prefill: prompts([10, 4]), seatsFree: 0 })), { kind: "idle" });
  assert.deepEqual(plan(viewOf({ prefill: prompts([10, 0], [9, 4]), seatsFree: 0 })), {
    kind: "prefill",
    chunks: [10],
  });
});

Deno.test("plan gives pages back before it takes new ones: compress, prefill, encode, decode", () => {
  const all = { compress: waiting(1), encode: waiting(1), prefill: prompts([5, 1]), decode: waiting(1) };
  const kinds: string[] = [];
  let view = viewOf({ ...all, last: "decode" });
  for (const stage of ["compress", "prefill", "encode", "decode"] as const) {
    kinds.push(plan(view).kind);
    view = { ...view, [stage]: NOTHING };
  }
  assert.deepEqual(kinds, ["compress", "prefill", "encode", "decode"]);
});

Deno.test("plan decodes no more sequences than a step takes", () => {
  assert.deepEqual(plan(viewOf({ decode: waiting(7), stepTokensMax: 6 })), { kind: "decode", items: 6 });
});

Deno.test("plan lets prefill follow its encode step, then decode", () => {
  const all = { compress: waiting(1), encode: waiting(1), prefill: prompts([5, 1]), decode: waiting(2) };
  assert.equal(plan(viewOf({ ...all, last: "encode" })).kind, "prefill");
  const blocked = { compress: waiting(1), encode: waiting(1), decode: waiting(2) };
  assert.deepEqual(plan(viewOf({ ...blocked, last: "encode" })), { kind: "decode", items: 2 });
});

Deno.test("plan gives decode a turn after a step of prefill or compress", () => {
  const all = { compress: waiting(1), encode: waiting(1), prefill: prompts([5, 1]), decode: waiting(2) };
  for (const last of ["compress", "prefill"] as const) {
    assert.deepEqual(plan(viewOf({ ...all, last })), { kind: "decode", items: 2 });
  }
});
