import assert from "node:assert/strict";
import { oneOf, workloadOf } from "../../../bench/options.ts";

Deno.test("oneOf takes a known name and refuses another, naming the flag and what it knows", () => {
  assert.equal(oneOf("webgpu", "backend", ["wasm", "webgpu"]), "webgpu");
  assert.throws(() => oneOf("wegbpu", "backend", ["wasm", "webgpu"]), {
    message: '--backend: expected one of wasm, webgpu, got "wegbpu"',
  });
  // A name that every object has is not a workload.
  assert.throws(() => workloadOf("toString"), /--workload: expected one of .*gqa-vqa.*, got "toString"/);
});
