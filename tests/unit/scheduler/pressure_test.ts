import assert from "node:assert/strict";
import type { Holder, PlanView } from "../../../scheduler/plan_view.ts";
import { LOW_WATERMARK_SHARE, relief } from "../../../scheduler/pressure.ts";
import { entries, entryOf, holderOf, planView, promptOf } from "../../support/plan_view.ts";

const memory = (availablePages: number) => ({ availablePages, promisedPages: 0, totalPages: 100 });
const decode = (...ready: ReturnType<typeof entryOf>[]) => ({ ready, company: false, batchRuns: false });

function reliefOf(view: Partial<PlanView>) {
  return relief(planView(view));
}

/** The order of arrival of who is preempted for the first of `ready`, null for nobody. */
function victim(holders: readonly Holder[], ready = [entryOf(1, { pages: 2 })]): number | null {
  const step = reliefOf({ decode: decode(...ready), holders, memory: memory(1) });
  if (step === null) return null;
  assert(step.kind === "preempt");
  return holders[step.holder].order;
}

Deno.test("relief is not needed while every claimant's pages are there", () => {
  const holders = [holderOf(0), holderOf(1)];
  assert.equal(
    reliefOf({
      decode: decode(entryOf(0, { pages: 5 }), entryOf(1, { pages: 5 })),
      holders,
      memory: memory(10),
    }),
    null,
  );
});

Deno.test("relief preempts the last in the order of service for one that comes before it", () => {
  assert.equal(victim([holderOf(0), holderOf(1), holderOf(3), holderOf(2)]), 3);
});

Deno.test("relief preempts nobody for the last in the order of service", () => {
  assert.equal(victim([holderOf(0), holderOf(1)]), null);
});

Deno.test("relief preempts one that waits for its reader first, whatever its rank", () => {
  assert.equal(victim([holderOf(0, { paused: true }), holderOf(1), holderOf(2)]), 0);
  assert.equal(
    victim([holderOf(0, { paused: true }), holderOf(1), holderOf(3, { paused: true }), holderOf(4)]),
    3,
  );
});

Deno.test("relief serves claimants of every stage in one order", () => {
  // The prompt that goes on comes first, then the copy; the stream that grows comes last.
  const view = {
    prefill: { ready: [promptOf(0, { begun: true, pages: 3 })], company: false },
    compress: { ready: [entryOf(1, { pages: 3 })], company: false },
    decode: decode(entryOf(2, { pages: 3 })),
    holders: [holderOf(0), holderOf(1), holderOf(2)],
  };
  assert.deepEqual(reliefOf({ ...view, memory: memory(2) }), { kind: "preempt", holder: 2 });
  assert.deepEqual(reliefOf({ ...view, memory: memory(5) }), { kind: "preempt", holder: 2 });
  assert.equal(reliefOf({ ...view, memory: memory(6) }), null, "the last one waits for its pages");
});

Deno.test("relief preempts nobody for a prompt that has not begun", () => {
  const prefill = { ready: [promptOf(0, { pages: 50 })], company: false };
  assert.equal(reliefOf({ prefill, holders: [holderOf(1)], memory: memory(1) }), null);
});

Deno.test("relief compresses below the low watermark, as many as there are pages for", () => {
  const compressible = entries(3, { pages: 4 });
  const total = 100;
  assert.equal(reliefOf({ compressible, memory: memory(LOW_WATERMARK_SHARE * total) }), null);
  assert.deepEqual(
    reliefOf({ compressible, memory: memory(LOW_WATERMARK_SHARE * total - 1) }),
    { kind: "shrink", items: [0, 1] },
  );
});

Deno.test("relief compresses those whose copies fit past one whose copy does not", () => {
  const compressible = [entryOf(0, { pages: 50 }), entryOf(1, { pages: 4 })];
  assert.deepEqual(reliefOf({ compressible, memory: memory(9) }), { kind: "shrink", items: [1] });
});

Deno.test("relief compresses no more at a time than the window of compress says", () => {
  const view = planView();
  const windows = { ...view.windows, compress: { ...view.windows.compress, items: 2 } };
  const compressible = entries(5, { pages: 1 });
  assert.deepEqual(reliefOf({ compressible, windows, memory: memory(9) }), { kind: "shrink", items: [0, 1] });
});

Deno.test("relief compresses at the last moment at which a copy fits, where few sequences hold all the memory", () => {
  const growing = decode(entryOf(0, { pages: 2 }), entryOf(1, { pages: 2 }));
  const view = { compressible: [entryOf(0, { pages: 30 }), entryOf(1, { pages: 20 })], decode: growing };
  assert.equal(reliefOf({ ...view, memory: memory(24) }), null);
  assert.deepEqual(reliefOf({ ...view, memory: memory(23) }), { kind: "shrink", items: [1] });
});

Deno.test("relief preempts nobody while compression runs that gives pages back", () => {
  const view = { decode: decode(entryOf(0, { pages: 2 })), holders: [holderOf(1)], memory: memory(0) };
  assert.equal(reliefOf({ ...view, inFlight: "decode" })?.kind, "preempt");
  assert.equal(reliefOf({ ...view, inFlight: "compress" }), null);
});
