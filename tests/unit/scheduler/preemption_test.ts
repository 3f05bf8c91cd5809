import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { KvPool } from "../../../pool/mod.ts";
import { Deadlines } from "../../../scheduler/deadlines.ts";
import { Decode } from "../../../scheduler/decode.ts";
import { DrainRate } from "../../../scheduler/drain_rate.ts";
import { Lane } from "../../../scheduler/lane.ts";
import { SchedulerMetrics } from "../../../scheduler/metrics.ts";
import { OutputLength } from "../../../scheduler/output_length.ts";
import { PictureStore } from "../../../scheduler/pictures.ts";
import { Preemption } from "../../../scheduler/preemption.ts";
import { ArrivalOrder } from "../../../scheduler/rank.ts";
import { Roster } from "../../../scheduler/roster.ts";
import { StageCosts } from "../../../scheduler/costs.ts";
import type { Sequence } from "../../../scheduler/sequence.ts";
import type { StageMessages, StageParts } from "../../../scheduler/stage.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { ScriptedEngine, scriptedFacts } from "../../support/scripted_engine.ts";
import { admitted, type AdmittedFields } from "../../support/sequences.ts";

const FACTS = scriptedFacts({ pageCount: 64 });
const IDS = Array.from({ length: 12 }, (_, index) => 20 + index);

/** A decode stage whose sequences can be preempted, and where they are sent. */
function stage() {
  const clock = new ManualClock();
  const pool = new KvPool(FACTS);
  const pictures = new PictureStore(16);
  const metrics = new SchedulerMetrics();
  const deadlines = new Deadlines(clock, metrics, { queueMs: null, readerMs: null }, () => {});
  const roster = new Roster(pool, pictures, new ArrivalOrder(), deadlines);
  const sent: (keyof StageMessages)[] = [];
  const parts: StageParts = {
    clock,
    engine: new ScriptedEngine(FACTS),
    pool,
    pictures,
    roster,
    lane: new Lane(clock, metrics, new StageCosts(), () => {}),
    metrics,
    outputLength: new OutputLength(),
    costs: new StageCosts(),
    drainRate: new DrainRate(),
    send: (to) => sent.push(to),
  };
  const decode = new Decode(parts, false);
  /** A sequence that runs: its prompt is stored and its first token sampled. */
  const running = (order: number, fields: AdmittedFields = {}): Sequence => {
    const sequence = admitted(IDS, FACTS, fields, { rankMs: order, order });
    roster.join(sequence, () => {});
    sequence.moveTo("prefill", 0);
    sequence.pages = pool.open(sequence.prompt.chain, 0);
    assert(pool.grow(sequence.pages!, [12, 12]));
    sequence.storedMore(12);
    sequence.took(5);
    sequence.moveTo("decode", 0);
    decode.receive({ type: "come", sequence });
    return sequence;
  };
  return { pool, metrics, sent, running, preemption: new Preemption(parts, [decode]), decode };
}

Deno.test("Preemption.holders shows who holds pages outside of a step, and how many", () => {
  const { running, preemption } = stage();
  running(0);
  running(1);
  assert.deepEqual(preemption.holders(), [
    { rankMs: 0, order: 0, pages: 6, paused: false },
    { rankMs: 1, order: 1, pages: 6, paused: false },
  ]);
});

Deno.test("Preemption.preempt gives all pages back and sends the sequence to store its stream again", () => {
  const { pool, metrics, sent, running, preemption, decode } = stage();
  running(0);
  const victim = running(1);
  preemption.holders();
  preemption.preempt(1);
  assert.deepEqual([victim.state, victim.pages, victim.stored, victim.sampled], ["prefill", null, 0, 1]);
  assert.equal(pool.usedPages, 6);
  assert.equal(metrics.preempted, 1);
  assert.deepEqual(sent, ["prefill"]);
  assert.equal(decode.ready().length, 1);
});

Deno.test("Preemption.preempt sends one whose pictures have no features any more to encode", () => {
  const { sent, running, preemption } = stage();
  const victim = running(0, { images: [{ firstToken: 1, rows: 3 }] });
  preemption.holders();
  preemption.preempt(0);
  assert.equal(victim.state, "encode");
  assert.deepEqual(sent, ["encode"]);
});

Deno.test("Preemption.preempt takes nobody twice", () => {
  const { running, preemption } = stage();
  running(0);
  preemption.holders();
  preemption.preempt(0);
  assert.throws(() => preemption.preempt(0), AssertionError);
});
