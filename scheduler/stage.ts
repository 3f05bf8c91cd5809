/** What the stages send each other, and what each of them is given. */
import type { Clock } from "../lib/core/clock.ts";
import type { RequestError } from "../lib/core/errors.ts";
import type { Engine, SampledToken } from "../lib/engine/engine.ts";
import type { PreparedImage } from "../lib/image/image.ts";
import type { Pool } from "../pool/mod.ts";
import type { Send } from "./actor.ts";
import type { StageCosts } from "./costs.ts";
import type { DrainRate } from "./drain_rate.ts";
import type { Lane, Outcome } from "./lane.ts";
import type { SchedulerMetrics } from "./metrics.ts";
import type { OutputLength } from "./output_length.ts";
import type { Picture, PictureStore } from "./pictures.ts";
import type { Roster } from "./roster.ts";
import type { Sequence } from "./sequence.ts";

type ForwardResult = Awaited<ReturnType<Engine["forward"]>>;

/** A sequence comes to this stage. Its state says so already. */
interface Come {
  readonly type: "come";
  readonly sequence: Sequence;
}

/** Every message between actors, by receiver. */
export interface StageMessages {
  intake: Come;
  encode:
    | Come
    | { readonly type: "prepared"; readonly picture: Picture; readonly image: PreparedImage }
    | { readonly type: "unprepared"; readonly picture: Picture; readonly error: unknown }
    | { readonly type: "encoded"; readonly pictures: readonly Picture[]; readonly outcome: Outcome<void> }
    /** Rows of the embedding store have come back. */
    | { readonly type: "room" };
  prefill:
    | Come
    | {
      readonly type: "stepped";
      /** Members of the step and the tokens of each. */
      readonly chunks: readonly { readonly sequence: Sequence; readonly tokens: number }[];
      readonly outcome: Outcome<ForwardResult>;
    };
  compress:
    | Come
    | {
      readonly type: "stepped";
      readonly sequences: readonly Sequence[];
      readonly outcome: Outcome<void>;
      /** When the device had ended. */
      readonly endedMs: number;
    };
  decode:
    | Come
    | {
      readonly type: "stepped";
      readonly sequences: readonly Sequence[];
      readonly outcome: Outcome<ForwardResult>;
    };
  emit:
    | {
      readonly type: "sampled";
      readonly sequence: Sequence;
      readonly token: SampledToken;
    }
    | { readonly type: "cancel"; readonly sequence: Sequence }
    | { readonly type: "fail"; readonly sequence: Sequence; readonly error: RequestError };
}

/** Results first, new work last: see ActorSystem. */
export const ACTOR_NAMES = ["emit", "decode", "compress", "prefill", "encode", "intake"] as const;

export interface StageParts {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly pool: Pool;
  readonly pictures: PictureStore;
  readonly roster: Roster;
  readonly lane: Lane;
  readonly metrics: SchedulerMetrics;
  readonly outputLength: OutputLength;
  readonly costs: StageCosts;
  readonly drainRate: DrainRate;
  readonly send: Send<StageMessages>;
}
