import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { StartError } from "../../../lib/core/errors.ts";
import { ALIGNMENT } from "../../../lib/wasm/layout.ts";
import { Arena, createMemory, scratchSize } from "../../../lib/wasm/memory.ts";
import { Draw } from "../../support/cases.ts";

Deno.test("Arena hands out pieces on cache lines that do not overlap, whatever is given back between", () => {
  const arena = new Arena(4096, 1 << 20, "test memory"), draw = new Draw(1);
  const held = new Map<number, number>();
  for (let round = 0; round < 2000; round++) {
    const addresses = [...held.keys()];
    if (addresses.length > 20 || (addresses.length > 0 && draw.integer(2) === 0)) {
      const address = addresses[draw.integer(addresses.length)];
      arena.give(address);
      held.delete(address);
      continue;
    }
    const bytes = 1 + draw.integer(300), address = arena.take(bytes);
    assert.equal(address % ALIGNMENT, 0);
    assert.ok(address >= 4096 && address + bytes <= 1 << 20);
    for (const [other, size] of held) {
      assert.ok(address + bytes <= other || other + size <= address, `${address} overlaps ${other}`);
    }
    held.set(address, bytes);
  }
});

Deno.test("Arena counts what is held in whole cache lines, and reuses a piece of the same size", () => {
  const arena = new Arena(0, 4096, "test memory");
  const first = arena.take(65);
  assert.equal(arena.liveBytes, 128);
  arena.take(1);
  assert.equal(arena.liveBytes, 192);
  arena.give(first);
  assert.equal(arena.liveBytes, 64);
  assert.equal(arena.take(100), first, "100 bytes are two lines as 65 were");
});

Deno.test("Arena refuses what does not fit, with the numbers, and says so before", () => {
  const arena = new Arena(0, 256, "test memory");
  const held = arena.take(192);
  assert.equal(arena.fits(64), true);
  assert.equal(arena.fits(65), false);
  assert.throws(
    () => arena.take(65),
    (error) => error instanceof StartError && /128 bytes of test memory: 192 of 256/.test(error.message),
  );
  arena.give(held);
  assert.equal(arena.fits(190), true);
});

Deno.test("scratchSize is at most an eighth more, and of few sizes, so that steps of every length fit one memory", () => {
  const arena = new Arena(0, 64 << 20, "test memory");
  for (let rows = 1; rows <= 4096; rows++) {
    const bytes = rows * 1024, size = scratchSize(bytes);
    assert.ok(size >= bytes && size <= bytes * 9 / 8 + 64, `${size} for ${bytes}`);
    arena.give(arena.take(size));
  }
  assert.ok(new Set(Array.from({ length: 1 << 16 }, (_, i) => scratchSize(i * 64))).size < 200);
});

Deno.test("Arena takes nothing back twice", () => {
  const arena = new Arena(0, 256, "test memory");
  const held = arena.take(10);
  arena.give(held);
  assert.throws(() => arena.give(held), AssertionError);
});

Deno.test("createMemory is shared, has its size at once and is zero", () => {
  const { buffer } = createMemory(65537);
  assert.ok(buffer instanceof SharedArrayBuffer);
  assert.equal(buffer.byteLength, 131072);
  assert.ok(new Uint8Array(buffer).every((byte) => byte === 0));
});
