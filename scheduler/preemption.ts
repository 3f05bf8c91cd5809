/** Who holds pages outside of steps, and how they are taken away. */
import { assert } from "../lib/core/assert.ts";
import type { Compress } from "./compress.ts";
import type { Decode } from "./decode.ts";
import type { Holder } from "./plan_view.ts";
import type { Prefill } from "./prefill.ts";
import { needsFeatures } from "./prefix.ts";
import type { Sequence } from "./sequence.ts";
import type { StageParts } from "./stage.ts";

export class Preemption {
  #shown: readonly Sequence[] = [];

  constructor(
    private readonly parts: StageParts,
    private readonly stages: readonly (Prefill | Compress | Decode)[],
  ) {}

  holders(): Holder[] {
    this.#shown = this.stages.flatMap((stage) => stage.holders());
    return this.#shown.map(({ rankMs, order, pages, channel }) => {
      assert(pages !== null, "a holder holds pages");
      return { rankMs, order, pages: pages.held, paused: channel.full };
    });
  }

  /** Takes the pages of one of the holders that were shown. It goes back to where its prompt is stored again. */
  preempt(index: number): void {
    const { clock, metrics, pool, roster, send } = this.parts;
    const sequence = this.#shown[index];
    assert(this.stages.some((stage) => stage.withdraw(sequence)), "a holder waits at a stage");
    roster.takePages(sequence, clock.now());
    metrics.preempted++;
    const next = needsFeatures(sequence, pool) ? "encode" : "prefill";
    sequence.moveTo(next, clock.now());
    send(next, { type: "come", sequence });
  }
}
