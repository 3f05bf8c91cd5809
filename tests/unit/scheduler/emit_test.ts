import assert from "node:assert/strict";
import { KvPool } from "../../../pool/mod.ts";
import { Completion } from "../../../scheduler/completion.ts";
import { Compress } from "../../../scheduler/compress.ts";
import { StageCosts } from "../../../scheduler/costs.ts";
import { Deadlines } from "../../../scheduler/deadlines.ts";
import { DrainRate } from "../../../scheduler/drain_rate.ts";
import { Emit } from "../../../scheduler/emit.ts";
import { Lane } from "../../../scheduler/lane.ts";
import { SchedulerMetrics } from "../../../scheduler/metrics.ts";
import { OutputLength } from "../../../scheduler/output_length.ts";
import { PictureStore } from "../../../scheduler/pictures.ts";
import { ArrivalOrder } from "../../../scheduler/rank.ts";
import { Roster } from "../../../scheduler/roster.ts";
import type { Sequence } from "../../../scheduler/sequence.ts";
import type { StageMessages, StageParts } from "../../../scheduler/stage.ts";
import { compressionBy } from "../../support/compressions.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { ScriptedEngine, scriptedFacts } from "../../support/scripted_engine.ts";
import { ScriptedText } from "../../support/scripted_text.ts";
import { admitted } from "../../support/sequences.ts";

const AUTO = compressionBy("keydiff", 0.5, { underPressure: true });
const IDS = Array.from({ length: 40 }, (_, index) => 20 + index % 40);

/** An emit stage on a device on which compression pays wherever there is room, and a compress stage behind it. */
function stage(pageCount: number) {
  const facts = scriptedFacts({ pageCount });
  const engine = new ScriptedEngine(facts);
  const clock = new ManualClock();
  const pool = new KvPool(facts);
  const pictures = new PictureStore(16);
  const metrics = new SchedulerMetrics();
  const deadlines = new Deadlines(clock, metrics, { queueMs: null, readerMs: null }, () => {});
  const roster = new Roster(pool, pictures, new ArrivalOrder(), deadlines);
  const costs = new StageCosts();
  // A step of eight takes 1 ms and 0.05 ms a stored slot.
  for (let slots = 1; slots <= 40; slots++) costs.observe("decode", 8, 1 + 0.05 * slots, slots);
  costs.observe("compress", IDS.length, 0.1);
  const results: Extract<StageMessages["compress"], { type: "stepped" }>[] = [];
  const parts: StageParts = {
    clock,
    engine,
    pool,
    pictures,
    roster,
    lane: new Lane(clock, metrics, costs, () => {}),
    metrics,
    outputLength: new OutputLength(),
    costs,
    drainRate: new DrainRate(),
    send: (_to, message) => {
      if (message.type === "stepped" && "endedMs" in message) results.push(message);
    },
  };
  const emit = new Emit(parts, { maxModelLen: 128, eosTokenIds: [], imageTokenId: null, imageTokens: 0 });
  const compress = new Compress(parts);
  /** Sequences of one prefill step, whose prompts are stored. */
  const prefilled = async (count: number): Promise<Sequence[]> => {
    const sequences: Sequence[] = [];
    while (sequences.length < count) {
      const sequence = admitted(IDS, facts, { compression: AUTO, maxTokens: 64 });
      sequence.completion = new Completion(new ScriptedText(), []);
      roster.join(sequence, () => {});
      sequence.moveTo("prefill", 0);
      sequence.pages = pool.open(null, 0);
      assert(pool.grow(sequence.pages!, [IDS.length, IDS.length]));
      await engine.forward([sequence.part(IDS.length)]);
      sequence.storedMore(IDS.length);
      sequence.moveTo("emit", 0);
      sequences.push(sequence);
    }
    return sequences;
  };
  /** Their first tokens leave. Those of them that are to be compressed. */
  const sampled = (sequences: readonly Sequence[]): Sequence[] => {
    const token = { id: 5, logprob: null, top: [] };
    for (const sequence of sequences) emit.receive({ type: "sampled", sequence, token });
    return sequences.filter(({ state }) => state === "compress");
  };
  return { compress, emit, metrics, parts, prefilled, results, sampled };
}

// Eight prompts of 20 pages leave 80 of 240, 24 are below the watermark, and a copy has 10: five fit above it.
const PAGES = 240;

Deno.test("Emit compresses because it pays only what fits beside the copies that others wait for", async () => {
  const { prefilled, sampled } = stage(PAGES);
  assert.equal(sampled(await prefilled(8)).length, 5);
});

Deno.test("Emit counts the pages of a copy once: while it waits, or when it has them", async () => {
  const { compress, parts, prefilled, sampled } = stage(PAGES);
  const all = await prefilled(8);
  const first = sampled(all.slice(0, 2));
  assert.equal(first.length, 2);
  compress.beginWith(first);
  assert.equal(sampled(all.slice(2)).length, 3);
  await parts.lane.idle();
});

Deno.test("Compress counts what was compressed because it pays when it is, and not when a client has left before", async () => {
  const { compress, emit, metrics, parts, prefilled, results, sampled } = stage(PAGES);
  const [stays, leaves] = sampled(await prefilled(2));
  assert.deepEqual([metrics.compressed, metrics.paid], [0, 0]);
  emit.receive({ type: "cancel", sequence: leaves });
  compress.beginWith([stays]);
  await parts.lane.idle();
  for (const result of results) compress.receive(result);
  assert.deepEqual([metrics.compressed, metrics.shrunk, metrics.paid], [1, 0, 1]);
});
