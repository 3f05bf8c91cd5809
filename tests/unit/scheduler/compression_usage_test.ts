/** What an answer says of compression, through the whole scheduler. */
import assert from "node:assert/strict";
import { ContiguousPool } from "../../../pool/mod.ts";
import type { Compression, CompressionUsage } from "../../../scheduler/messages.ts";
import { compressionBy } from "../../support/compressions.ts";
import { scriptedFacts } from "../../support/scripted_engine.ts";
import { answerTo, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle } from "../../support/scripted_service_end.ts";

const PROMPT = "TWENTY_LETTERS_OF_IT";
const FACTS = { pageBytes: 512 };

async function usageOf(
  compression: Compression | null,
  { prompt = PROMPT, maxTokens = 8, contiguous = false } = {},
): Promise<CompressionUsage | null> {
  const scheduler = contiguous ? { pool: new ContiguousPool(scriptedFacts(FACTS)) } : {};
  const service = scriptedService({ facts: FACTS, scheduler });
  const { end } = await answerTo(service.scheduler, requestOf(prompt, { compression, maxTokens }));
  await closeIdle(service);
  assert(end.type === "finished");
  return end.compression;
}

Deno.test("compressionUsage of what was not compressed is none, and says why", async () => {
  const auto = compressionBy("keydiff", 0.5, { underPressure: true, minTokens: 4 });
  const whys: readonly (readonly [Compression, CompressionUsage["reason"], number?])[] = [
    [auto, "no_need"],
    [{ ...auto, minTokens: 100 }, "min_tokens"],
    [{ ...auto, size: { budget: 100 } }, "nothing_to_remove"],
    [compressionBy("knorm", 0.5, { minTokens: 100 }), "min_tokens"],
    [{ ...compressionBy("knorm", 0.5), size: { budget: 100 } }, "nothing_to_remove"],
    [compressionBy("knorm", 0.5), "answer_ended", 1],
  ];
  for (const [compression, reason, maxTokens] of whys) {
    const usage = await usageOf(compression, { maxTokens });
    assert.deepEqual(usage, {
      ...{ method: "none", size: { ratio: 0 }, quantise: null, reason },
      ...{ promptTokens: 20, storedTokens: 20, keptTokens: 20 },
      // 5 pages in each of two layers.
      ...{ bytesBefore: 10 * 512, bytesAfter: 10 * 512 },
    });
  }
  assert.equal(await usageOf(null), null);
});

Deno.test("compressionUsage of what was compressed says by what method, how much, and for what", async () => {
  const compression = compressionBy("streaming", 0.25);
  const usage = await usageOf(compression);
  assert.deepEqual([usage?.method, usage?.size, usage?.quantise, usage?.reason], [
    ...["streaming", { ratio: 0.25 }, null, "request"],
  ]);
});

Deno.test("compressionUsage names quantisation only where slots were packed", async () => {
  const quantise = { bits: 8, tail: "float" } as const;
  const packed = compressionBy("knorm", 0.5, { quantise });
  assert.equal((await usageOf(packed))?.quantise, null, "10 kept slots are less than a group");
  const usage = await usageOf(packed, { prompt: "x".repeat(70) });
  assert.deepEqual([usage?.method, usage?.quantise, usage?.keptTokens], ["knorm", quantise, 35]);
  const whole = await usageOf({ ...packed, size: { budget: 100 } }, { prompt: "x".repeat(70) });
  assert.deepEqual([whole?.method, whole?.size, whole?.quantise], ["none", { ratio: 0 }, quantise]);
});

Deno.test("compressionUsage counts the pages of what is stored, whether they come one by one or in a run", async () => {
  const packed = compressionBy("knorm", 0.25, { quantise: { bits: 4, tail: "float" } });
  const prompt = "x".repeat(90);
  for (const compression of [compressionBy("knorm", 0.5), packed, { ...packed, minTokens: 100 }]) {
    const paged = await usageOf(compression, { prompt });
    assert.deepEqual(await usageOf(compression, { prompt, contiguous: true }), paged);
    const saves = paged!.reason === "request";
    assert.equal(paged!.bytesAfter < paged!.bytesBefore, saves);
  }
});
