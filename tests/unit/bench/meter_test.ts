import assert from "node:assert/strict";
import { AnswerMeter, StreamError } from "../../../bench/load/meter.ts";
import { keepsTargets, latencyOf } from "../../../bench/load/figures.ts";

const delta = (content: string | null, finish: string | null = null) =>
  JSON.stringify({ choices: [{ delta: { content }, finish_reason: finish }] });

/** An answer of three tokens, the first of them empty, as it comes at these times. */
function scripted(): AnswerMeter {
  const meter = new AnswerMeter();
  meter.take(delta(null), 1005);
  meter.take(delta(""), 1010);
  meter.take(delta("a"), 1030);
  meter.take(delta("b"), 1040);
  meter.take(delta("c"), 1070);
  meter.take(delta("", "stop"), 1071);
  meter.take(
    JSON.stringify({
      choices: [],
      usage: { prompt_tokens: 80, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 64 } },
      timings: {
        encode: { wait_ms: 1, run_ms: 2 },
        prefill: { wait_ms: 3, run_ms: 4 },
        decode: { wait_ms: 5, run_ms: 6 },
      },
    }),
    1072,
  );
  meter.take("[DONE]", 1073);
  return meter;
}

Deno.test("AnswerMeter takes TTFT at the first text that is not empty and ITL between tokens", () => {
  const answer = scripted().answer();
  assert.equal(answer.firstTextMs, 1030);
  assert.deepEqual(answer.gapsMs, [10, 30]);
  assert.equal(answer.lastMs, 1071);
  assert.equal(answer.text, "abc");
  assert.deepEqual([answer.promptTokens, answer.completionTokens, answer.cachedTokens], [80, 4, 64]);
});

Deno.test("latencyOf counts from when a request was due, not from when it was sent", () => {
  const answer = scripted().answer();
  const sent = {
    index: 0,
    dueMs: 0,
    sentMs: 500,
    endMs: answer.lastMs - 900,
    reply: { kind: "answer", answer },
  } as const;
  assert.deepEqual(latencyOf(sent, answer, 900), {
    ttftMs: 130,
    tpotMs: (171 - 130) / 3,
    endToEndMs: 171,
    normalisedMs: 171 / 4,
    ttftPaperMs: 1 + 2 + 3 + 4,
  });
});

Deno.test("an answer of one token has no time per token, one without text no TTFT", () => {
  const meter = new AnswerMeter();
  meter.take(delta("yes"), 10);
  meter.take(delta("", "stop"), 11);
  const answer = meter.answer();
  const sent = { index: 0, dueMs: 0, sentMs: 0, endMs: 11, reply: { kind: "answer", answer } } as const;
  assert.ok(Number.isNaN(latencyOf(sent, answer, 0).tpotMs));
  assert.equal(answer.completionTokens, 1);
  assert.equal(answer.stages, null);
  const silent = new AnswerMeter();
  silent.take(delta("", "stop"), 11);
  assert.ok(Number.isNaN(silent.answer().firstTextMs));
});

Deno.test("an answer of tokens without any text counts from its first token", () => {
  const meter = new AnswerMeter();
  meter.take(delta(""), 10);
  meter.take(delta(""), 14);
  meter.take(delta("", "length"), 15);
  const { firstTextMs, gapsMs } = meter.answer();
  assert.deepEqual([firstTextMs, gapsMs], [10, [4]]);
});

Deno.test("AnswerMeter refuses a stream that tells of an error or ends without an end", () => {
  const failed = new AnswerMeter();
  assert.throws(
    () => failed.take(JSON.stringify({ error: { code: "pool_full", message: "x" } }), 1),
    (error) => error instanceof StreamError && error.code === "pool_full",
  );
  const cut = new AnswerMeter();
  cut.take(delta("a"), 1);
  assert.throws(() => cut.answer(), StreamError);
});

Deno.test("AnswerMeter leaves alone timings of another shape", () => {
  const meter = new AnswerMeter();
  meter.take(JSON.stringify({ choices: [], timings: { prompt_n: 5, prompt_ms: 3.5 } }), 1);
  meter.take(delta("a", "stop"), 2);
  assert.equal(meter.answer().stages, null);
});

Deno.test("keepsTargets wants every target kept and an answer with text", () => {
  const latency = { ttftMs: 100, tpotMs: NaN, endToEndMs: 900, normalisedMs: 1, ttftPaperMs: NaN };
  const targets = { ttftMs: 100, tpotMs: 10, endToEndMs: null };
  assert.equal(keepsTargets(latency, targets), true);
  assert.equal(keepsTargets({ ...latency, ttftMs: 101 }, targets), false);
  assert.equal(keepsTargets({ ...latency, tpotMs: 11 }, targets), false);
  assert.equal(keepsTargets({ ...latency, ttftMs: NaN }, targets), false);
});
