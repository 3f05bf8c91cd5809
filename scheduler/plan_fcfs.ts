/**
 * First come, first served, with everything inline: the prompt that came first goes through encode, prefill and compress
 * alone, and no other begins before it has; running streams get a token after each of these steps.
 */
import { compressBatch, decodeBatch, prefillBatch } from "./batches.ts";
import { compareRank } from "./rank.ts";
import type { Held, PlanView, StageEntry, StepPlan } from "./plan_view.ts";

export function planFcfs(view: PlanView, held: Held[]): StepPlan {
  if (view.inFlight !== null) return { kind: "idle" };
  const decode = decodeBatch(view.decode.ready, view.windows.decode, view.memory.availablePages, held);
  const decodeStep: StepPlan | null = decode.length === 0 ? null : { kind: "decode", items: decode };
  if (decodeStep !== null && view.foreignSteps > 0) return decodeStep;
  return promptStep(view, held) ?? decodeStep ?? { kind: "idle" };
}

function promptStep(view: PlanView, held: Held[]): StepPlan | null {
  const heads: readonly (StageEntry | undefined)[] = [
    view.compress.ready[0],
    view.prefill.ready[0],
    view.encode.ready[0],
  ];
  const oldest = heads.filter((head) => head !== undefined).sort(compareRank)[0];
  if (oldest === undefined) return null;
  switch (oldest) {
    case heads[0]: {
      const batch = compressBatch(
        view.compress.ready,
        { items: 1, tokens: 1 },
        view.memory.availablePages,
        held,
      );
      return batch === null ? null : { kind: "compress", items: [0] };
    }
    case heads[1]: {
      const batch = prefillBatch(view, { items: 1, tokens: view.stepTokensMax }, held);
      return batch === null ? null : { kind: "prefill", chunks: batch.chunks };
    }
    default: {
      // All pictures of that one request.
      const own = view.encode.ready.filter((entry) => entry.order === oldest.order);
      return { kind: "encode", items: own.map((_, index) => index) };
    }
  }
}
