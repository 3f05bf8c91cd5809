/** How each policy batches. */
import assert from "node:assert/strict";
import type { Compression, ContentPart } from "../../../scheduler/messages.ts";
import type { Policy } from "../../../scheduler/policy.ts";
import { answerTo, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle } from "../../support/scripted_service_end.ts";
import { compressionBy } from "../../support/compressions.ts";

const COMPRESSION: Compression = compressionBy("knorm", 0.5);

/** Steps of `count` requests that come at one time, each with a picture and a prompt of its own. */
async function stepsOf(policy: Policy, count: number, maxTokens: number, pictures = false) {
  const service = scriptedService({
    facts: { embeddingRows: 256, pageCount: 1024 },
    scheduler: { policy },
  });
  await Promise.all(Array.from({ length: count }, (_, index) => {
    const text = { type: "text", text: String.fromCharCode(65 + index) + "ELLO" } as const;
    const picture: ContentPart = { type: "image", bytes: Uint8Array.of(index), param: "messages" };
    const content = pictures ? [picture, text] : [text];
    return answerTo(service.scheduler, requestOf(content, { maxTokens, compression: COMPRESSION }));
  }));
  await closeIdle(service);
  return { steps: service.steps, metrics: service.scheduler.metrics };
}

Deno.test("static policies run full batches and decode each to its completion before anything else begins", async () => {
  const { steps } = await stepsOf({ kind: "static", prefill: 2, compress: 2, decode: 2 }, 4, 4);
  assert.deepEqual(steps, [
    "prefill 2",
    "prefill 2",
    "compress 2",
    "compress 2",
    "decode 2",
    "decode 2",
    "decode 2",
    "decode 2",
    "decode 2",
    "decode 2",
  ]);
});

Deno.test("static policies begin the last batch with what there is", async () => {
  const { steps } = await stepsOf({ kind: "static", prefill: 2, compress: 2, decode: 4 }, 3, 2);
  assert.deepEqual(steps, ["prefill 2", "prefill 1", "compress 2", "compress 1", "decode 3"]);
});

Deno.test("fcfs takes prompts one by one through every stage and decodes those that run between", async () => {
  const { steps } = await stepsOf({ kind: "fcfs" }, 2, 4);
  assert.deepEqual(steps, [
    "prefill 1",
    "compress 1",
    "decode 1",
    "prefill 1",
    "decode 1",
    "compress 1",
    "decode 2",
    "decode 1",
    "decode 1",
  ]);
});

Deno.test("dynamic runs batches larger than one in every stage under load", async () => {
  const { metrics } = await stepsOf({ kind: "dynamic" }, 8, 8, true);
  for (const stage of ["encode", "prefill", "compress", "decode"] as const) {
    const { counts, count } = metrics.batchItems[stage];
    assert(counts[0] < count, `${stage} ran ${count} batches, ${counts[0]} of them of one`);
  }
});
