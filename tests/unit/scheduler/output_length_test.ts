import assert from "node:assert/strict";
import { OutputLength } from "../../../scheduler/output_length.ts";

Deno.test("OutputLength.expected never goes beyond the limit of the completion nor below one token", () => {
  const output = new OutputLength();
  assert.equal(output.expected(0, 5), 5);
  for (let n = 0; n < 1000; n++) output.ended(0);
  assert.equal(output.expected(0, 5), 1);
});

Deno.test("OutputLength.expected follows what completions turn out to have, and how far they differ", () => {
  const output = new OutputLength();
  for (let n = 0; n < 1000; n++) output.ended(200);
  const alike = output.expected(0, 10_000);
  assert(alike >= 200 && alike <= 202, `${alike}`);
  for (let n = 0; n < 1000; n++) output.ended(n % 2 === 0 ? 100 : 300);
  assert(output.expected(0, 10_000) > 280, "a mean of 200 and a deviation of 100");
});

Deno.test("OutputLength.expected lets one that is longer than usual go on for as long as it has", () => {
  const output = new OutputLength();
  for (let n = 0; n < 1000; n++) output.ended(10);
  assert.equal(output.expected(500, 10_000), 1000);
  assert.equal(output.expected(500, 700), 700);
});
