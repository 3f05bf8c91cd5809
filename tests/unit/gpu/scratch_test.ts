import assert from "node:assert/strict";
import fc from "fast-check";
import { sizeClass } from "../../../lib/gpu/scratch.ts";

const LIMIT = 2 ** 27;

Deno.test("sizeClass holds what was asked for, wastes a fifth at most and never exceeds a binding", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: LIMIT }), (bytes) => {
    const size = sizeClass(bytes, LIMIT);
    assert.ok(size >= bytes && size <= LIMIT && size % 16 === 0);
    assert.ok(size <= Math.max(256, bytes * 1.25), `${bytes} → ${size}`);
    assert.equal(sizeClass(size, LIMIT), size, "a class is its own class");
  }));
});
