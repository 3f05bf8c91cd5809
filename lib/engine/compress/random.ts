import { seededRandom } from "../../core/random.ts";
import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod } from "./method.ts";

/** `kept` of `slots`, ascending, all choices alike: the first steps of a shuffle (Fisher and Yates). */
export function randomSlots(slots: number, kept: number, seed: number): Uint32Array {
  const random = seededRandom(seed), order = new Uint32Array(slots);
  for (let slot = 0; slot < slots; slot++) order[slot] = slot;
  for (let i = 0; i < kept; i++) {
    const j = i + random.nextUint32() % (slots - i);
    const drawn = order[j];
    order[j] = order[i];
    order[i] = drawn;
  }
  return order.subarray(0, kept).sort();
}

/** Keeps slots by lot, per layer and head, drawn from the request's seed: the control that a method must beat. */
export const random = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  record(batch) {
    batch.gather(chosenByHost(batch, (prompt, layer, head, stored, kept) => {
      const [low, high] = batch.prompts[prompt].seed;
      const mixed = seededRandom(low ^ Math.imul(high, 0x9e3779b1)).nextUint32();
      return randomSlots(stored, kept, mixed ^ (layer << 16 | head));
    }));
  },
});
