import assert from "node:assert/strict";
import {
  checkDefaultMaxTokens,
  choosePrefixCache,
  chooseWindows,
  contextLimit,
  fitPool,
  pictureWarning,
} from "../../../lib/cli/choose.ts";
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
  assert.throws(() => fitPool(8192, 8192, ENGINE_FACTS), /needs --kv-memory 20971520 \(20\.0 MiB\)$/);
});

Deno.test("checkDefaultMaxTokens refuses a limit above the context", () => {
  checkDefaultMaxTokens(null, 100);
  checkDefaultMaxTokens(100, 100);
  assert.throws(() => checkDefaultMaxTokens(101, 100), UsageError);
});

Deno.test("choosePrefixCache is on where pages are shared and nothing was said, and refuses on where none are", () => {
  for (
    const [pool, prefixCache, chosen] of [
      ["paged", null, true],
      ["paged", true, true],
      ["paged", false, false],
      ["contiguous", null, false],
      ["contiguous", false, false],
    ] as const
  ) assert.equal(choosePrefixCache({ pool, prefixCache }), chosen);
  assert.throws(() => choosePrefixCache({ pool: "contiguous", prefixCache: true }), UsageError);
});

Deno.test("pictureWarning speaks up when a picture, a question and one token of an answer do not fit", () => {
  // Ten tokens of template and question beside the picture's own.
  const text = {
    render: () => "",
    encode: (_: string, __: string, images: readonly number[]) => new Array<number>(10 + images[0]),
  };
  assert.equal(pictureWarning(text, 64, 75), null);
  assert.match(pictureWarning(text, 64, 74)!, /^warning: .* 74 tokens .* 75$/);
  assert.equal(pictureWarning(text, 0, 2), null);
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
  assert.deepEqual(chooseWindows(flags, ENGINE_FACTS), {
    ...defaultWindows(32, 4096, true),
    encode: encodeWindow,
  });
});
