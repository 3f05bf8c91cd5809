import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod } from "./method.ts";

/** Keeps all slots: the method of a request that asks for quantisation alone. */
export const none = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  kept: ({ slots }) => slots.slice(),
  record(batch) {
    batch.gather(chosenByHost(batch, (out, at, { stored }) => {
      for (let slot = 0; slot < stored; slot++) out[at + slot] = slot;
    }));
  },
});
