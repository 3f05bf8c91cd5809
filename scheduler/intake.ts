/** Intake: text to tokens, headers of pictures, everything that can be refused before anything is reserved. */
import { RequestError } from "../lib/core/errors.ts";
import type { Actor } from "./actor.ts";
import { type AdmissionParts, admit } from "./admission.ts";
import { clientError } from "./client_error.ts";
import { Completion } from "./completion.ts";
import { needsFeatures } from "./prefix.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

export class Intake implements Actor<StageMessages["intake"]> {
  constructor(
    private readonly parts: StageParts,
    private readonly admission: AdmissionParts,
    private readonly waitingTokensMax: number,
  ) {}

  receive({ sequence }: StageMessages["intake"]): void {
    if (sequence.ended) return;
    const { clock, send, metrics, engine, pool } = this.parts;
    sequence.timer.begin(clock.now());
    try {
      sequence.admit(admit(sequence.request, this.admission), engine.facts.layers);
      sequence.completion = new Completion(this.admission.text, sequence.request.stop);
      this.#refuseWhatCannotWait(sequence);
    } catch (thrown) {
      send("emit", { type: "fail", sequence, error: clientError(thrown, sequence.request.id) });
      return;
    }
    sequence.channel.push({ type: "admitted", promptTokenIds: sequence.prompt.ids });
    metrics.promptTokens += sequence.prompt.ids.length;
    const next = needsFeatures(sequence, pool) ? "encode" : "prefill";
    sequence.moveTo(next, clock.now());
    send(next, { type: "come", sequence });
  }

  /** A lone prompt always may wait, however long it is. */
  #refuseWhatCannotWait(sequence: Sequence): void {
    const { metrics, drainRate, roster } = this.parts;
    const tokens = sequence.prompt.ids.length;
    const waiting = roster.waitingTokens;
    if (waiting === tokens || waiting <= this.waitingTokensMax) return;
    metrics.refused.tokens++;
    throw new RequestError(
      "rate_limit_exceeded",
      `${waiting - tokens} prompt tokens are waiting already. Try again later.`,
      null,
      drainRate.retryAfterSeconds(roster.waiting),
    );
  }
}
