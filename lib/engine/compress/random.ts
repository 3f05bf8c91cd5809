import { seededRandom } from "../../core/random.ts";
import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod } from "./method.ts";

/**
 * Writes `kept` of `slots`, ascending, all choices alike, from `out[at]` on: the first steps of a shuffle (Fisher and Yates).
 * `room` holds two numbers a slot: the shuffled slots, and which of them were drawn.
 */
export function randomSlots(
  out: Uint32Array,
  at: number,
  slots: number,
  kept: number,
  seed: number,
  room: Uint32Array,
): void {
  const random = seededRandom(seed);
  for (let slot = 0; slot < slots; slot++) {
    room[slot] = slot;
    room[slots + slot] = 0;
  }
  for (let i = 0; i < kept; i++) {
    const j = i + random.nextUint32() % (slots - i), drawn = room[j];
    room[j] = room[i];
    room[slots + drawn] = 1;
  }
  // A slot that was not drawn is overwritten by the next: no branch that would be guessed wrong half of the time.
  for (let slot = 0, written = 0; written < kept; slot++) {
    out[at + written] = slot;
    written += room[slots + slot];
  }
}

/** Keeps slots by lot, per layer and head, drawn from the request's seed: the control that a method must beat. */
export const random = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  record(batch) {
    const room = new Uint32Array(2 * batch.jobs.slotsMax);
    const seeds = batch.prompts.map(({ seed: [low, high] }) =>
      seededRandom(low ^ Math.imul(high, 0x9e3779b1)).nextUint32()
    );
    batch.gather(chosenByHost(batch, (out, at, { prompt, layer, head, stored, kept }) => {
      randomSlots(out, at, stored, kept, seeds[prompt] ^ (layer << 16 | head), room);
    }));
  },
});
