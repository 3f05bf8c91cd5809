/** Emit: tokens to text and to whoever asked. Decides when a completion has ended, and ends every sequence. */
import { assert } from "../lib/core/assert.ts";
import type { SampledToken } from "../lib/engine/engine.ts";
import type { Actor } from "./actor.ts";
import type { ModelFacts } from "./admission.ts";
import type { GenerateEvent } from "./messages.ts";
import { paysOff } from "./break_even.ts";
import { compressionUsage } from "./compression_usage.ts";
import { packingOf } from "./packing.ts";
import { LOW_WATERMARK_SHARE } from "./pressure.ts";
import { copyPages } from "./room.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

type Terminal = Extract<GenerateEvent, { type: "finished" | "cancelled" | "failed" }>;

export class Emit implements Actor<StageMessages["emit"]> {
  readonly #eosTokenIds: ReadonlySet<number>;

  constructor(private readonly parts: StageParts, model: ModelFacts) {
    this.#eosTokenIds = new Set(model.eosTokenIds);
  }

  receive(message: StageMessages["emit"]): void {
    const { sequence } = message;
    if (sequence.ended) return;
    switch (message.type) {
      case "sampled":
        return this.#sampled(sequence, message.token);
      case "cancel":
        return this.#end(sequence, { type: "cancelled" });
      case "fail":
        return this.#end(sequence, { type: "failed", error: message.error });
    }
  }

  #sampled(sequence: Sequence, token: SampledToken): void {
    const { metrics } = this.parts;
    const { completion, request, prompt } = sequence;
    assert(completion !== null, "a sequence that samples has a completion");
    sequence.took(token.id);
    metrics.generatedTokens++;
    // The end-of-sequence token counts and is reported, but it is not text.
    const eos = !request.ignoreEos && this.#eosTokenIds.has(token.id);
    const { text, stopped } = eos ? { text: "", stopped: false } : completion.push(token.id);
    this.#observeToken(sequence, text);
    sequence.channel.push({ type: "token", id: token.id, text, logprob: completion.logprob(token) });
    if (stopped) this.#finish(sequence, "stop", "");
    else if (eos) this.#finish(sequence, "stop", completion.finish().text);
    else if (sequence.sampled >= prompt.maxTokens) {
      const rest = completion.finish();
      this.#finish(sequence, rest.stopped ? "stop" : "length", rest.text);
    } else this.#goOn(sequence);
  }

  #goOn(sequence: Sequence): void {
    const { clock, send } = this.parts;
    if (sequence.sampled === 1 && this.#pays(sequence)) sequence.compressHere("gain");
    const next = sequence.compressionDue ? "compress" : "decode";
    sequence.moveTo(next, clock.now());
    send(next, { type: "come", sequence });
  }

  /** Of a request that leaves it to the server: it gains time, and memory has room for the copy above the watermark. */
  #pays(sequence: Sequence): boolean {
    const { costs, outputLength, pool, roster } = this.parts;
    // A run has a place for the copies that were known at its beginning only.
    if (pool.shape.runPages !== undefined) return false;
    const kept = sequence.keptUnderPressure();
    if (kept === null || sequence.pages === null || costs.msPerSlot === 0) return false;
    const { prompt, sampled, stored, slots } = sequence;
    const copy = copyPages(pool.shape, kept, packingOf(prompt.packRule, kept));
    const free = pool.availablePages - this.#promisedPages();
    if (free - copy < LOW_WATERMARK_SHARE * pool.shape.pageCount) return false;
    return paysOff({
      compressMs: costs.predict("compress", stored),
      decodeMs: costs.predict("decode", roster.running),
      msPerSlot: costs.msPerSlot,
      slotsSaved: stored - kept.reduce((sum, count) => sum + count, 0) / slots.length,
      tokens: outputLength.expected(sampled, prompt.maxTokens) - sampled,
    });
  }

  /** Pages of the copies that sequences wait for: all of one prefill batch are asked before the first copy has any. */
  #promisedPages(): number {
    const { pool, roster } = this.parts;
    let pages = 0;
    for (const { state, inStep, compressionPoint: point } of roster.sequences()) {
      if (state !== "compress" || inStep || point === null) continue;
      pages += copyPages(pool.shape, point.kept, point.packing);
    }
    return pages;
  }

  #finish(sequence: Sequence, reason: "stop" | "length", text: string): void {
    const { clock, metrics, pool } = this.parts;
    const now = clock.now();
    const completion = sequence.completion;
    if (text !== "" && completion?.started === false) metrics.ttft.observe((now - sequence.arrivedMs) / 1000);
    metrics.endToEnd.observe((now - sequence.arrivedMs) / 1000);
    sequence.timer.leave(now);
    this.parts.outputLength.ended(sequence.sampled);
    this.#end(sequence, {
      type: "finished",
      reason,
      text,
      completionTokens: sequence.sampled,
      cachedTokens: sequence.cachedTokens ?? 0,
      compression: compressionUsage(sequence, pool.shape),
      timings: sequence.timer.timings(),
    });
  }

  /** Exactly one terminal event, and everything goes back. */
  #end(sequence: Sequence, event: Terminal): void {
    const { clock, drainRate, metrics, roster } = this.parts;
    const putOff = event.type === "cancelled" && sequence.request.shadow === true;
    if (!putOff) metrics.finished[event.type === "finished" ? event.reason : event.type]++;
    roster.end(sequence, clock.now());
    drainRate.ended(clock.now(), roster.waiting > 0);
    for (const [stage, { waitMs, runMs }] of sequence.timer.visits()) {
      metrics.stageWait[stage].observe(waitMs / 1000);
      metrics.stageRun[stage].observe(runMs / 1000);
    }
    sequence.channel.push(event);
  }

  #observeToken(sequence: Sequence, text: string): void {
    const { clock, metrics } = this.parts;
    const { completion, arrivedMs } = sequence;
    assert(completion !== null, "a sequence that samples has a completion");
    const now = clock.now();
    if (completion.lastTokenMs !== null) metrics.itl.observe((now - completion.lastTokenMs) / 1000);
    completion.lastTokenMs = now;
    if (completion.started || text === "") return;
    completion.started = true;
    metrics.ttft.observe((now - arrivedMs) / 1000);
  }
}
