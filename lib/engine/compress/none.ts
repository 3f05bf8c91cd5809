import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod } from "./method.ts";

/** Keeps all slots: the method of a request that asks for quantisation alone. */
export const none = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  kept: ({ slots }) => slots.slice(),
  record(batch) {
    const all = new Uint32Array(batch.jobs.slotsMax);
    for (let slot = 0; slot < all.length; slot++) all[slot] = slot;
    batch.gather(chosenByHost(batch, (_prompt, _layer, _head, stored) => all.subarray(0, stored)));
  },
});
