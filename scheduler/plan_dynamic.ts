/**
 * The product's policy. Compress goes first (it gives pages back), then prefill and encode (whose pictures prefill
 * waits for), in the order of service, lest text without end keep pictures waiting; then decode: first tokens leave
 * early. But running streams get their next token before steps of the other
 * stages have taken longer than the target of inter-token latency: a prompt is cut into chunks that fit what is left
 * of it. After a decode step one foreign step may always run, as short as it can be, so that a device which cannot meet
 * the target still serves everybody.
 *
 * A batch grows until its window, memory, or the measured knee ends it: beyond the knee a larger batch saves nothing
 * and only makes its first members wait. Cutting a prompt inside a picture changes nothing: attention is causal in every
 * family that is served.
 */
import {
  type Batch,
  compressBatch,
  decodeBatch,
  encodeBatch,
  pictureFirst,
  prefillBatch,
  released,
} from "./batches.ts";
import type { Held, PlanView, StepPlan } from "./plan_view.ts";

/** Tokens of the shortest chunk: fewer cost as much as these. */
const CHUNK_TOKENS_MIN = 16;

type Foreign = "compress" | "prefill" | "encode";
const FOREIGN: readonly Foreign[] = ["compress", "prefill", "encode"];
const PICTURE_FIRST: readonly Foreign[] = ["compress", "encode", "prefill"];

interface Candidate {
  readonly stage: Foreign;
  readonly batch: Batch;
  readonly step: StepPlan;
}

export function planDynamic(view: PlanView, held: Held[]): StepPlan {
  const decode = decodeStep(view, held);
  const slackMs = decode === null ? Infinity : view.itlTargetMs - view.sinceDecodeMs;
  let unreleased: StepPlan | null = null;
  for (const stage of pictureFirst(view) ? PICTURE_FIRST : FOREIGN) {
    const candidate = candidateOf(view, stage, slackMs, held);
    if (candidate === null) continue;
    const ms = view.costs.predict(stage, candidate.batch.size);
    if (ms > slackMs && view.foreignSteps > 0) {
      held.push({ stage, why: "latency", needed: ms, available: Math.max(0, slackMs) });
      continue;
    }
    if (released(view, stage, candidate.batch)) return candidate.step;
    held.push({
      stage,
      why: "company",
      needed: view.windows[stage].waitMs,
      available: view.nowMs - candidate.batch.sinceMs,
    });
    unreleased ??= candidate.step;
  }
  // A device that would idle waits for no window.
  return decode ?? (view.inFlight === null ? unreleased : null) ?? { kind: "idle" };
}

/** A second decode step behind one that runs would split the batch in two for good. */
function decodeStep(view: PlanView, held: Held[]): StepPlan | null {
  if (view.decodeInFlight) return null;
  const items = decodeBatch(
    view.decode.ready,
    {
      items: view.windows.decode.items,
      tokens: Math.min(view.windows.decode.tokens, view.stepTokensMax),
    },
    view.memory.availablePages,
    held,
  );
  return items.length === 0 ? null : { kind: "decode", items };
}

function candidateOf(view: PlanView, stage: Foreign, slackMs: number, held: Held[]): Candidate | null {
  const { windows, costs } = view;
  const { items, tokens } = windows[stage];
  const knee = costs.knee(stage);
  switch (stage) {
    case "encode": {
      const within = Math.max(1, Math.min(knee, costs.within("encode", slackMs)));
      const batch = encodeBatch(view.encode.ready, { items: Math.min(items, within), tokens });
      return batch === null ? null : { stage, batch, step: { kind: "encode", items: first(batch.items) } };
    }
    case "prefill": {
      const within = Math.max(CHUNK_TOKENS_MIN, costs.within("prefill", slackMs));
      const limits = { items, tokens: Math.min(tokens, within, kneeTokens(view, knee)) };
      const batch = prefillBatch(view, limits, held);
      return batch === null ? null : { stage, batch, step: { kind: "prefill", chunks: batch.chunks } };
    }
    case "compress": {
      const batch = compressBatch(
        view.compress.ready,
        { items, tokens: Math.min(tokens, Math.max(1, costs.within("compress", slackMs))) },
        view.memory.availablePages,
        held,
      );
      return batch === null ? null : { stage, batch, step: { kind: "compress", items: first(batch.items) } };
    }
  }
}

/**
 * Whole prompts until the knee is reached: cutting one there would only cost another step. No bound while all of them
 * are below it: a batch that ends with the queue is not full.
 */
function kneeTokens(view: PlanView, knee: number): number {
  let tokens = 0;
  for (const entry of view.prefill.ready) {
    tokens += entry.tokens;
    if (tokens >= knee) return tokens;
  }
  return Infinity;
}

function first(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
