import assert from "node:assert/strict";
import { headChunks, tileTokensMax } from "../../../shaders/attention_tile.wgsl.ts";
import { cutTiles } from "../../../lib/gpu/attention_tiles.ts";
import { foldedGrid, GRID_MAX } from "../../../lib/gpu/grid.ts";

Deno.test("cutTiles covers every token once, never across sequences, single tokens apart", () => {
  const { single, many } = cutTiles(Uint32Array.of(0, 1, 10, 10, 18), 4);
  // Sequence 0 is one token; 1 is 4 + 4 + 1; 2 is empty; 3 is 4 + 4.
  assert.deepEqual(single, [0, 0, 1, 1, 9, 1]);
  assert.deepEqual(many, [1, 1, 4, 1, 5, 4, 3, 10, 4, 3, 14, 4]);
});

Deno.test("cutTiles refuses bounds that fall", () => {
  assert.throws(() => cutTiles(Uint32Array.of(0, 5, 3), 4), /ascend/);
});

Deno.test("headChunks reaches every query head of a KV head with at most eight a workgroup", () => {
  for (let group = 1; group <= 64; group++) {
    const shape = { heads: 2 * group, kvHeads: 2, headDim: 64 };
    const { chunks, heads } = headChunks(shape);
    assert.ok(heads <= 8, `${heads} heads at once for a group of ${group}`);
    assert.ok(
      chunks * heads >= group && (chunks - 1) * heads < group,
      `group ${group}: ${chunks} × ${heads}`,
    );
    assert.ok(tileTokensMax(shape) >= 2 && tileTokensMax(shape) * heads <= 16);
  }
});

Deno.test("foldedGrid holds the count in dimensions that every device allows", () => {
  for (const count of [1, 2, GRID_MAX, GRID_MAX + 1, 3 * GRID_MAX + 7, 10_000_019]) {
    const [x, y, z] = foldedGrid(count);
    assert.ok(x <= GRID_MAX && y <= GRID_MAX && z === 1);
    // Fewer than one row of workgroups is idle.
    assert.ok(x * y >= count && x * y - count < x, `${count}: ${x} × ${y}`);
  }
});
