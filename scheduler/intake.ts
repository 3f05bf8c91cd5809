/** Intake: text to tokens, headers of pictures, everything that can be refused before anything is reserved. */
import type { Actor } from "./actor.ts";
import { type AdmissionParts, admit } from "./admission.ts";
import { clientError } from "./client_error.ts";
import { Completion } from "./completion.ts";
import type { StageMessages, StageParts } from "./stage.ts";

export class Intake implements Actor<StageMessages["intake"]> {
  constructor(private readonly parts: StageParts, private readonly admission: AdmissionParts) {}

  receive({ sequence }: StageMessages["intake"]): void {
    if (sequence.ended) return;
    const { clock, send, metrics, engine } = this.parts;
    sequence.timer.begin(clock.now());
    try {
      const prompt = admit(sequence.request, this.admission);
      sequence.admitted = prompt;
      sequence.completion = new Completion(this.admission.text, sequence.request.stop);
      sequence.slots = new Uint32Array(engine.facts.layers);
    } catch (thrown) {
      send("emit", { type: "fail", sequence, error: clientError(thrown, sequence.request.id) });
      return;
    }
    sequence.channel.push({ type: "admitted", promptTokenIds: sequence.prompt.ids });
    metrics.promptTokens += sequence.prompt.ids.length;
    const next = sequence.prompt.images.length > 0 ? "encode" : "prefill";
    sequence.moveTo(next, clock.now());
    send(next, { type: "come", sequence });
  }
}
