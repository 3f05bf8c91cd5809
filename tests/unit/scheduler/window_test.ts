import assert from "node:assert/strict";
import { defaultWindows, fillWindow, releaseAtMs } from "../../../scheduler/window.ts";

const entries = (...tokens: number[]) => tokens.map((tokens) => ({ tokens, sinceMs: 0 }));

Deno.test("fillWindow takes the longest beginning of the queue inside items and tokens", () => {
  const limits = { items: 3, tokens: 10, waitMs: 5 };
  assert.deepEqual(fillWindow(entries(4, 4), limits), { items: 2, full: false });
  assert.deepEqual(fillWindow(entries(4, 6), limits), { items: 2, full: true });
  assert.deepEqual(fillWindow(entries(4, 4, 4), limits), { items: 2, full: true });
  assert.deepEqual(fillWindow(entries(1, 1, 1, 1), limits), { items: 3, full: true });
  assert.deepEqual(fillWindow([], limits), { items: 0, full: false });
});

Deno.test("fillWindow lets one member exceed the tokens alone", () => {
  assert.deepEqual(fillWindow(entries(40, 1), { items: 3, tokens: 10, waitMs: 5 }), { items: 1, full: true });
});

Deno.test("releaseAtMs waits for company only when some may come", () => {
  const limits = { items: 3, tokens: 10, waitMs: 5 };
  assert.equal(releaseAtMs(100, limits, true), 105);
  assert(releaseAtMs(100, limits, false) <= 0);
});

Deno.test("defaultWindows never asks for more prompt tokens than a step takes", () => {
  assert.equal(defaultWindows(32, 512, false).prefill.tokens, 512);
  assert.equal(defaultWindows(32, 4096, false).prefill.tokens, 2048);
  assert.equal(defaultWindows(32, 4096, false).decode.items, 32);
  assert.equal(defaultWindows(32, 4096, true).prefill.tokens, 1024);
});
