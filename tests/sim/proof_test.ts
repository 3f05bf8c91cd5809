/** What a request is answered depends on the request alone. */
import assert from "node:assert/strict";
import { seededRandom } from "../../lib/core/random.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { defaultWindows } from "../../scheduler/mod.ts";
import { DYNAMIC } from "../../scheduler/policy.ts";
import { BATCHING_STAGES } from "../../scheduler/window.ts";
import { scriptedFacts } from "../support/scripted_engine.ts";
import { drawScenario, type Scenario } from "./scenario.ts";
import { type ClientScript, PACKED, promptTokens, Traffic } from "./traffic.ts";
import { type History, simulate } from "./world.ts";
import { compressionBy } from "../support/compressions.ts";

const SEED = 11;
const REQUESTS = 40;

/** A device without faults on which everything fits one way or another. */
function calm(facts: Partial<EngineFacts>): (drawn: Scenario) => Scenario {
  return (drawn) => ({
    ...drawn,
    facts: scriptedFacts({ pageSlots: 4, pageCount: 400, embeddingRows: 40, stepTokensMax: 48, ...facts }),
    policy: DYNAMIC,
    itlTargetMs: 100,
    prefixCache: true,
    windows: defaultWindows(8, 48, false),
    limits: {
      maxNumSeqs: 8,
      waitingRequestsMax: 1_000,
      waitingTokensMax: 100_000,
      streamEventsMax: 100,
      decodedImagesMax: 16,
      queueTimeoutMs: null,
      readerTimeoutMs: null,
    },
    sizes: { textTokensMax: 20, maxTokensMin: 1, maxTokensMax: 20, surge: null, pictures: 20 },
    mixture: { tenants: 1, salts: 1, priorities: 0, prefixes: 1, prefixed: 0 },
    faults: { leaves: 0, slow: 0, stops: 0, badPictures: 0, limits: 0, failedCalls: 0, notFiniteRows: 0 },
    ending: "calm",
  });
}

/** Requests that read at once and stay to their end. */
function drawClients(change: (script: ClientScript) => ClientScript = (script) => script): ClientScript[] {
  const traffic = new Traffic(seededRandom(SEED), calm({})(drawScenario(seededRandom(SEED))));
  return Array.from({ length: REQUESTS }, () => {
    const script = traffic.next();
    return change(withRequest(script, { maxTokens: script.request.maxTokens ?? 12 }));
  });
}

function withRequest(script: ClientScript, fields: Partial<ClientScript["request"]>): ClientScript {
  return { ...script, request: { ...script.request, ...fields } };
}

/** The same requests under other names, so that several of them may be there at one time. */
function renamed(clients: readonly ClientScript[], mark: string): ClientScript[] {
  return clients.map((script) => withRequest(script, { id: `${script.request.id}-${mark}` }));
}

async function play(clients: readonly ClientScript[], facts: Partial<EngineFacts> = {}): Promise<History> {
  return await simulate(SEED, { deliveries: 0, clients, change: calm(facts) });
}

function answers({ records }: Pick<History, "records">) {
  return records.map(({ ending, ids, text, reason }) => ({ ending, ids, text, reason }));
}

/** What each request gets that has the server for itself. */
async function alone(clients: readonly ClientScript[]) {
  const histories: History[] = [];
  for (const client of clients) histories.push(await play([client]));
  const expected = histories.flatMap(answers);
  assert(expected.every(({ ending }) => ending === "finished"));
  return expected;
}

Deno.test("a request gets the same tokens alone and in a crowd", async () => {
  const clients = drawClients();
  const expected = await alone(clients);
  assert.deepEqual(answers(await play(clients)), expected);
  assert.deepEqual(answers(await play(clients, { stepTokensMax: 6 })), expected);
});

Deno.test("a request gets the same tokens from a warm prefix cache", async () => {
  const clients = drawClients();
  const expected = await alone(clients);
  const { records } = await play([...clients, ...renamed(clients, "again")]);
  const again = records.slice(REQUESTS);
  assert.deepEqual(answers({ records: again }), expected);
  const cached = again.filter(({ finished }) => finished!.cachedTokens > 0);
  assert(cached.length > REQUESTS / 2, `${cached.length} began with cached pages`);
});

/** So many short answers come first that the scheduler expects no long ones, and admits too many for its memory. */
function behindShortOnes(clients: readonly ClientScript[]): ClientScript[] {
  const short = clients.map((script) => withRequest(script, { maxTokens: 1 }));
  return [...renamed(short, "first"), ...renamed(short, "second"), ...renamed(short, "third"), ...clients];
}

Deno.test("a request without compression gets the same tokens when it is preempted for want of memory", async () => {
  const clients = drawClients((script) => withRequest(script, { compression: null, maxTokens: 20 }));
  const expected = await alone(clients);
  // 48 pages are 96 slots a layer: two of the longest requests, where eight have seats.
  const history = await play(behindShortOnes(clients), { pageCount: 48 });
  assert.deepEqual(answers(history).slice(-REQUESTS), expected);
  const { preempted, resumed } = history.scheduler.metrics;
  assert(preempted > 0 && resumed === preempted, `${preempted} were preempted, ${resumed} resumed`);
});

Deno.test("a compressed request gets the same tokens when it is preempted for want of memory", async () => {
  const compression = compressionBy("knorm", 0.5);
  const clients = drawClients((script) => withRequest(script, { compression, maxTokens: 30 }))
    .filter(({ request }) => promptTokens(request) <= 30);
  const expected = await alone(clients);
  const history = await play(behindShortOnes(clients), { pageCount: 48 });
  assert.deepEqual(answers(history).slice(-clients.length), expected);
  const counts = new Map(history.counts.entries());
  assert(
    counts.get("compressed sequence that was resumed")! > 0,
    "a compressed one was preempted and resumed",
  );
});

Deno.test("a request of packed slots gets the same tokens when it is preempted for want of memory", async () => {
  // Prompts of one whole group and some slots more; each begins in its own way, so that none shares pages.
  const clients = drawClients().map((script, index) => {
    const text = String.fromCharCode(65 + index % 26) + "A".repeat(36);
    const content = [{ type: "text", text }] as const;
    const prompt = { kind: "chat", messages: [{ role: "user", content }], param: "messages" } as const;
    return withRequest(script, { prompt, compression: PACKED, maxTokens: 24 });
  });
  const expected = await alone(clients);
  // A prompt and its copy take some 50 pages at one moment, its codes, room and tail 20 afterwards and 30 in the end: this
  // pool lets more begin than it holds to their end.
  const history = await play(behindShortOnes(clients), { pageCount: 130 });
  assert.deepEqual(answers(history).slice(-clients.length), expected);
  const counts = new Map(history.counts.entries());
  assert(counts.get("cache of packed slots")! > clients.length, "some are packed again");
  assert(counts.get("compressed sequence that was resumed")! > 0, "one was preempted and resumed");
});

Deno.test("under load every stage runs batches larger than one", async () => {
  const { scheduler: { metrics } } = await play(drawClients());
  for (const stage of BATCHING_STAGES) {
    const { sum, count } = metrics.batchItems[stage];
    assert(sum > count, `${stage} runs ${sum} members in ${count} steps`);
  }
});
