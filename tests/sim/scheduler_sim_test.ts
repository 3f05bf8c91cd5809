import assert from "node:assert/strict";
import { expectedAnswer } from "./expectation.ts";
import type { History } from "./world.ts";
import { simulate } from "./world.ts";

const SEEDS = Array.from({ length: 60 }, (_, index) => index + 1);

/** Every answer is the one that the request alone determines; whatever ended early has the beginning of it. */
function checkAnswers({ scenario, records }: History): void {
  for (const [index, record] of records.entries()) {
    const { request, leaves } = scenario.clients[index];
    if (record.promptTokens === 0) continue;
    const expected = expectedAnswer(request, scenario.facts);
    assert.deepEqual(record.ids, expected.ids.slice(0, record.ids.length), `tokens of ${request.id}`);
    switch (record.ending) {
      case "finished":
        assert.deepEqual(
          { ids: record.ids, text: record.text, reason: record.reason },
          expected,
          `answer to ${request.id}`,
        );
        assert.equal(record.finished!.completionTokens, record.ids.length);
        break;
      case "failed": {
        const picture = record.error!.code === "image_parse_error";
        const device = record.error!.code === "engine_failed" &&
          scenario.failRate + scenario.notFiniteRate > 0;
        assert(picture || device, `${request.id} failed without a fault: ${record.error!.message}`);
        break;
      }
      case "cancelled":
        assert(leaves !== null || scenario.drainAtMs !== null, `${request.id} was cancelled by nobody`);
        break;
      default:
        break;
    }
  }
}

for (const seed of SEEDS) {
  Deno.test(`StagedScheduler keeps every promise in the world of seed ${seed}`, async () => {
    checkAnswers(await simulate(seed));
  });
}

Deno.test("simulate replays one seed as the same history", async () => {
  const [first, second] = [await simulate(7), await simulate(7)];
  assert.equal(first.trace, second.trace);
  assert.deepEqual(first.records, second.records);
});

Deno.test("a request's answer does not depend on windows, seats or the size of the pool", async () => {
  const calm = (seats: number, pages: number, tokens: number) =>
    simulate(11, (drawn) => ({
      ...drawn,
      facts: {
        ...drawn.facts,
        layers: 2,
        pageSlots: 4,
        pageCount: pages,
        stepTokensMax: tokens,
        embeddingRows: 40,
      },
      limits: { ...drawn.limits, maxNumSeqs: seats, waitingRequestsMax: 100 },
      clients: drawn.clients.map((client) => ({
        ...client,
        leaves: null,
        request: { ...client.request, maxTokens: 12 },
      })),
      failRate: 0,
      notFiniteRate: 0,
      drainAtMs: null,
    }));
  const texts = (history: History) => history.records.map(({ text, ids, ending }) => ({ text, ids, ending }));
  const alone = await calm(1, 80, 8);
  assert(alone.records.filter(({ ending }) => ending === "finished").length >= 4);
  assert.deepEqual(texts(await calm(8, 400, 64)), texts(alone));
  assert.deepEqual(texts(await calm(4, 96, 20)), texts(alone));
});
