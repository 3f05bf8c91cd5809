/** The rules themselves: each one must see what it forbids. */
import assert from "node:assert/strict";
import { circlesOf, importProblem } from "./layers.ts";
import { importsOf, withoutComments } from "./source_tree.ts";

Deno.test("importProblem refuses imports that point up, into tests, or out of the layers", () => {
  assert.equal(importProblem("scheduler/plan.ts", "lib/core/assert.ts"), null);
  assert.equal(importProblem("lib/gpu/step.ts", "shaders/matmul.wgsl.ts"), null);
  assert.match(importProblem("lib/engine/local.ts", "scheduler/plan.ts")!, /point down/);
  assert.match(importProblem("lib/core/log.ts", "lib/ops/kv.ts")!, /point down/);
  assert.match(importProblem("lib/ops/kv.ts", "tests/support/kv.ts")!, /nothing imports/);
  assert.match(importProblem("lib/engine/local.ts", "pool/mod.ts")!, /knows nothing/);
  assert.match(importProblem("lib/engine/local.ts", "lib/misc/x.ts")!, /in no layer/);
});

Deno.test("importsOf finds static, dynamic, type and worker imports and resolves relative ones", () => {
  const text = `
    import { a } from "../core/assert.ts";
    import type { B } from "./b.ts";
    import source from "../../shaders/x.wgsl" with { type: "text" };
    import "./effect.ts";
    export { c } from "./c.ts";
    // import { no } from "./comment.ts";
    const d = await import("./d.ts");
    new Worker(new URL("./worker.ts", import.meta.url));
    import { Hono } from "hono";
    const text = "from 'nowhere'";
  `;
  assert.deepEqual(importsOf({ path: "lib/gpu/step.ts", text }).sort(), [
    "hono",
    "lib/core/assert.ts",
    "lib/gpu/b.ts",
    "lib/gpu/c.ts",
    "lib/gpu/d.ts",
    "lib/gpu/effect.ts",
    "lib/gpu/worker.ts",
    "shaders/x.wgsl",
  ]);
  const values = importsOf({ path: "lib/gpu/step.ts", text }, "values");
  assert.ok(!values.includes("lib/gpu/b.ts") && values.includes("lib/core/assert.ts"));
});

Deno.test("withoutComments removes comments and keeps strings that look like them", () => {
  assert.equal(withoutComments('a("http://x"); // b\n/* c */d'), 'a("http://x"); \nd');
});

Deno.test("circlesOf finds circles of any length and none in a diamond", () => {
  const graph = (edges: Record<string, string[]>) =>
    new Map(Object.entries(edges).map(([from, to]) => [from, new Set(to)]));
  assert.deepEqual(circlesOf(graph({ a: ["b", "c"], b: ["d"], c: ["d"], d: [] })), []);
  assert.deepEqual(circlesOf(graph({ a: ["b"], b: ["c"], c: ["b"] })), ["b → c → b"]);
  assert.deepEqual(circlesOf(graph({ a: ["a"] })), ["a → a"]);
});
