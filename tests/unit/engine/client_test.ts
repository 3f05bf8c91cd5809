/** On WebGPU: the WebAssembly backend ends a step before it takes another message, whatever the worker does. */
import assert from "node:assert/strict";
import { startEngine } from "../../../lib/engine/client.ts";
import type { Engine, ForwardSequence } from "../../../lib/engine/engine.ts";
import { GREEDY_TOP5, plainPositions } from "../../support/generate.ts";
import { gpuTest } from "../../support/gpu_test.ts";

const MODEL_DIR = new URL("../../fixtures/llama-text-tiny", import.meta.url).pathname;
const IDS = Array.from({ length: 40 }, (_, index) => 5 + index * 3 % 50);

async function opened(run: (engine: Engine) => Promise<void>): Promise<void> {
  const engine = await startEngine({
    modelDir: MODEL_DIR,
    loadFormat: "auto",
    backend: "webgpu",
    threads: 2,
    weights: "stored",
    kvDtype: "f32",
    kvBytes: 1 << 20,
    maxNumSeqs: 2,
    maxModelLen: 64,
  });
  try {
    await run(engine);
  } finally {
    await engine.close();
  }
}

/** The prompt in chunks of `length` tokens, in pages from `firstPage` on; the last one samples. */
function chunks(
  { facts: { layers, pageSlots } }: Engine,
  firstPage: number,
  length: number,
): ForwardSequence[] {
  const pages = Math.ceil(IDS.length / pageSlots);
  const tables = Array.from(
    { length: layers },
    (_, layer) => Uint32Array.from({ length: pages }, (_, page) => firstPage + layer * pages + page),
  );
  return Array.from({ length: IDS.length / length }, (_, chunk) => ({
    tokens: Uint32Array.from(IDS.slice(chunk * length, (chunk + 1) * length)),
    positions: plainPositions(chunk * length, length),
    slotBase: new Uint32Array(layers).fill(chunk * length),
    pageTables: tables,
    sampling: (chunk + 1) * length === IDS.length ? GREEDY_TOP5 : null,
    sampled: 0,
  }));
}

gpuTest("startEngine runs steps one after the other, however early the next one is handed over", async () => {
  await opened(async (engine) => {
    let expected: unknown = null;
    for (const chunk of chunks(engine, 0, 8)) [expected] = await engine.forward([chunk]);
    const ended: number[] = [];
    const later = chunks(engine, Math.floor(engine.facts.pageCount / 2), 8);
    const results = await Promise.all(later.map(async (chunk, index) => {
      const [result] = await engine.forward([chunk]);
      ended.push(index);
      return result;
    }));
    assert.deepEqual(ended, [0, 1, 2, 3, 4]);
    assert(expected !== null);
    assert.deepEqual(results, [null, null, null, null, expected]);
  });
});

gpuTest("startEngine goes on with the next step when one fails", async () => {
  await opened(async (engine) => {
    const [chunk] = chunks(engine, 0, 40);
    const failing = engine.forward([{ ...chunk, pageTables: [] }]);
    const following = engine.forward([chunk]);
    await assert.rejects(failing);
    assert.equal((await following).length, 1);
  });
});
