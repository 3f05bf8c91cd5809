import assert from "node:assert/strict";
import { chooseWindows, contextLimit, fitPool } from "../../../lib/cli/choose.ts";
import { StartError, UsageError } from "../../../lib/core/errors.ts";
import { defaultWindows } from "../../../scheduler/window.ts";
import { ENGINE_FACTS } from "./engine_facts.ts";

Deno.test("contextLimit is the model's own length, its sliding window, or what was asked for", () => {
  assert.equal(contextLimit({ maxPositions: 2048, slidingWindow: null }, null), 2048);
  assert.equal(contextLimit({ maxPositions: 2048, slidingWindow: 1024 }, null), 1024);
  assert.equal(contextLimit({ maxPositions: 2048, slidingWindow: null }, 100), 100);
});

Deno.test("contextLimit refuses more than the model has", () => {
  assert.throws(() => contextLimit({ maxPositions: 2048, slidingWindow: null }, 2049), UsageError);
});

Deno.test("fitPool shortens a context that the pool cannot hold, and refuses one that was asked for", () => {
  assert.equal(fitPool(2048, null, ENGINE_FACTS), 2048);
  assert.equal(fitPool(8192, null, ENGINE_FACTS), 3264);
  assert.throws(() => fitPool(8192, 8192, ENGINE_FACTS), StartError);
});

Deno.test("chooseWindows takes the flags given and the defaults for the others", () => {
  const encodeWindow = { items: 1, tokens: 64, waitMs: 0 };
  const flags = {
    maxNumSeqs: 32,
    encodeWindow,
    prefillWindow: null,
    compressWindow: null,
    decodeWindow: null,
  };
  assert.deepEqual(chooseWindows(flags, ENGINE_FACTS), { ...defaultWindows(32, 4096), encode: encodeWindow });
});
