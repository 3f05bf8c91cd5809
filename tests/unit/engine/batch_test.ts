import assert from "node:assert/strict";
import { packBatch } from "../../../lib/engine/batch.ts";
import type { ForwardSequence } from "../../../lib/engine/engine.ts";
import { GREEDY_TOP5, plainPositions } from "../../support/generate.ts";

function part(tokens: number[], base: number[], tables: number[][], samples: boolean): ForwardSequence {
  return {
    tokens: Uint32Array.from(tokens),
    positions: plainPositions(base[0], tokens.length),
    slotBase: Uint32Array.from(base),
    pageTables: tables.map((table) => Uint32Array.from(table)),
    sampling: samples ? GREEDY_TOP5 : null,
    sampled: 0,
  };
}

Deno.test("packBatch lays tokens, bases and tables out as KvMap documents", () => {
  const batch = packBatch(
    [part([7, 8, 9], [0, 0], [[4], [5]], false), part([3], [17, 5], [[1, 2], [6, 0]], true)],
    2,
    16,
  );
  assert.deepEqual([...batch.tokens], [7, 8, 9, 3]);
  assert.deepEqual([...batch.sampleRows], [3]);
  assert.deepEqual(batch.sampled, [1]);
  // 4 tokens, then first tokens 0, 3 and the end 4, then per layer two bases and two table starts.
  assert.deepEqual([...batch.map.subarray(0, 15)], [0, 0, 0, 1, 0, 3, 4, 0, 17, 15, 17, 0, 5, 16, 19]);
  assert.deepEqual([...batch.map.subarray(15)], [4, 5, 1, 2, 6, 0]);
});

Deno.test("packBatch refuses a page table that ends before the last slot", () => {
  assert.throws(() => packBatch([part([1], [16], [[3]], false)], 1, 16), /page table/);
});
