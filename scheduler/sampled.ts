/** What the engine sampled for one sequence, on its way to emit. */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Engine } from "../lib/engine/engine.ts";
import type { Send } from "./actor.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages } from "./stage.ts";

type Sampled = Awaited<ReturnType<Engine["forward"]>>[number];

/** Logits that are not numbers fail their own sequence and no other. */
export function sendSampled(send: Send<StageMessages>, sequence: Sequence, sampled: Sampled): void {
  assert(sampled, "a part that samples yields a token");
  if (sampled === "not_finite") {
    const error = new RequestError("engine_failed", "The model's output was not a number.");
    send("emit", { type: "fail", sequence, error });
  } else send("emit", { type: "sampled", sequence, token: sampled });
}
