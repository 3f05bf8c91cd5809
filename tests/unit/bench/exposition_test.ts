import assert from "node:assert/strict";
import { byLabel, difference, parseExposition, sumOf } from "../../../bench/load/exposition.ts";
import { timeMean } from "../../../bench/load/watch.ts";
import { formatTrace, parseTrace } from "../../../bench/load/trace.ts";

const TEXT = `# HELP steps_sum seconds
# TYPE steps summary
steps_sum{stage="prefill"} 1.5
steps_sum{stage="decode",x="1"} 2
steps_sum_other 100
plain 7 1700000000
`;

Deno.test("parseExposition reads values, sums and labels", () => {
  const samples = parseExposition(TEXT);
  assert.equal(sumOf(samples, "steps_sum"), 3.5);
  assert.equal(sumOf(samples, "plain"), 7);
  assert.equal(sumOf(samples, "absent"), 0);
  assert.deepEqual([...byLabel(samples, "steps_sum", "stage")], [["prefill", 1.5], ["decode", 2]]);
});

Deno.test("difference takes what was counted before away, and all of what is new", () => {
  const before = new Map([["a", 2]]), after = new Map([["a", 5], ["b", 1]]);
  assert.deepEqual([...difference(before, after)], [["a", 3], ["b", 1]]);
});

Deno.test("timeMean weighs a reading by how long it held", () => {
  const readings = [[0, 10], [100, 20], [400, 99]].map(([atMs, value]) => ({
    atMs,
    samples: new Map([["g", value]]),
  }));
  assert.equal(timeMean(readings, (samples) => samples.get("g")!), (10 * 100 + 20 * 300) / 400);
  assert.ok(Number.isNaN(timeMean([], () => 1)));
});

Deno.test("a trace comes back in the order of its times, with its answers' rule", () => {
  const line = (at_ms: number, text: string, answer?: string) =>
    JSON.stringify({
      at_ms,
      request: { messages: [{ role: "user", content: text }], max_tokens: 8 },
      answer,
    });
  const { requests, timesMs } = parseTrace(`${line(20, "b")}\n\n${line(10.5, "a", "Yes.")}\n`);
  assert.deepEqual([...timesMs], [10.5, 20]);
  assert.deepEqual(requests.map(({ messages }) => messages[0].content), ["a", "b"]);
  assert.equal(requests[0].score!("yes"), 1);
  assert.equal(requests[1].score, null);
  const again = parseTrace(formatTrace({ requests, timesMs }));
  assert.deepEqual([...again.timesMs], [10.5, 20]);
  assert.equal(again.requests[1].maxTokens, 8);
});

Deno.test("parseTrace names the line that is wrong", () => {
  assert.throws(() => parseTrace("\nnot json"), /line 2/);
  assert.throws(() => parseTrace('{"at_ms": -1, "request": {"messages": []}}'), /line 1/);
});
