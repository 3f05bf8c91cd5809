import assert from "node:assert/strict";
import { parsePolicy, policyText } from "../../../scheduler/policy.ts";

Deno.test("parsePolicy reads every policy, and policyText writes it back", () => {
  for (const text of ["dynamic", "fcfs", "static:p1c1d8", "static:p4c4d128"]) {
    const policy = parsePolicy(text);
    assert(policy !== null, text);
    assert.equal(policyText(policy), text);
  }
  assert.deepEqual(parsePolicy("static:p3c2d6"), { kind: "static", prefill: 3, compress: 2, decode: 6 });
});

Deno.test("parsePolicy refuses batches of nothing or too much, and anything else", () => {
  for (
    const text of [
      "",
      "Dynamic",
      "static",
      "static:p0c1d8",
      "static:p1c1d0",
      "static:p1c4097d1",
      "static:p1c1",
    ]
  ) assert.equal(parsePolicy(text), null, text);
  assert.equal(parsePolicy(" fcfs"), null);
  assert.equal(parsePolicy("static:p1c1d8 "), null);
});
