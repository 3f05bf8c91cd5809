/** Sequences as the scheduler makes them, without a scheduler. */
import type { GenerateRequest } from "../../scheduler/messages.ts";
import type { AdmittedImage, AdmittedPrompt } from "../../scheduler/admission.ts";
import { EventChannel } from "../../scheduler/channel.ts";
import type { Ranked } from "../../scheduler/rank.ts";
import { Sequence } from "../../scheduler/sequence.ts";
import { chainOf, type PoolShape } from "../../pool/mod.ts";
import { requestOf } from "./scripted_service.ts";

const UNOBSERVED = { filled: () => {}, drained: () => {}, returned: () => {} };

/** A sequence that has just arrived. */
export function arrived(
  rank: Ranked = { rankMs: 0, order: 0 },
  request: Partial<GenerateRequest> = {},
): Sequence {
  return new Sequence(requestOf("a", request), new EventChannel(4, UNOBSERVED), 0, rank);
}

export interface AdmittedFields extends Partial<Omit<AdmittedPrompt, "chain" | "images">> {
  readonly images?: readonly Pick<AdmittedImage, "firstToken" | "rows">[];
}

/** A sequence of `ids` that has passed intake and may be prefilled in a pool of this shape. */
export function admitted(
  ids: readonly number[],
  shape: PoolShape,
  { images = [], ...fields }: AdmittedFields = {},
  rank: Ranked = { rankMs: 0, order: 0 },
): Sequence {
  const sequence = arrived(rank);
  const pictures = images.map((image, index) => ({
    bytes: new Uint8Array(1),
    param: "messages",
    hash: String(index).padStart(64, "0"),
    ...image,
  }));
  sequence.admit({
    ids,
    positions: Uint32Array.from({ length: 3 * ids.length }, (_, i) => Math.floor(i / 3)),
    positionsEnd: ids.length,
    maxTokens: 8,
    compression: null,
    keepPages: 0,
    packRule: null,
    protect: [],
    ...fields,
    images: pictures,
    chain: chainOf(ids, shape.pageSlots, pictures, ""),
  }, shape.layers);
  return sequence;
}
