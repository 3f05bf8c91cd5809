/**
 * What a stored slot costs each decode step that attends to it, measured: steps are fitted by
 * ms = fixed + item · sequences + slot · slots, least squares in which older steps count less and less.
 */

/** Weight that a step keeps when the next one comes: the last 200 count. */
const KEPT_SHARE = 0.995;
/** Steps before anything is said. */
const STEPS_MIN = 32;
/** Below this share of the sequences' and slots' spread together, the two grow as one and cannot be told apart. */
const APART_MIN = 0.01;

export class SlotCost {
  #steps = 0;
  #weight = 0;
  /** Weighted means of sequences, slots and milliseconds, and weighted sums of the products of their deviations. */
  #items = 0;
  #slots = 0;
  #ms = 0;
  #itemsItems = 0;
  #slotsSlots = 0;
  #itemsSlots = 0;
  #itemsMs = 0;
  #slotsMs = 0;

  observe(items: number, slots: number, ms: number): void {
    const counted = Math.min(ms, this.#msMax(items, slots));
    const before = KEPT_SHARE * this.#weight;
    this.#steps++;
    this.#weight = before + 1;
    const share = before / this.#weight;
    const dItems = items - this.#items, dSlots = slots - this.#slots, dMs = counted - this.#ms;
    this.#itemsItems = KEPT_SHARE * this.#itemsItems + share * dItems * dItems;
    this.#slotsSlots = KEPT_SHARE * this.#slotsSlots + share * dSlots * dSlots;
    this.#itemsSlots = KEPT_SHARE * this.#itemsSlots + share * dItems * dSlots;
    this.#itemsMs = KEPT_SHARE * this.#itemsMs + share * dItems * dMs;
    this.#slotsMs = KEPT_SHARE * this.#slotsMs + share * dSlots * dMs;
    this.#items += dItems / this.#weight;
    this.#slots += dSlots / this.#weight;
    this.#ms += dMs / this.#weight;
  }

  /** Milliseconds that one more slot in all layers adds to a step; 0 while that is not known, or too little to see. */
  get msPerSlot(): number {
    if (this.#steps < STEPS_MIN || this.#slotsSlots === 0) return 0;
    // Always as many sequences: slots alone tell.
    if (this.#itemsItems === 0) return Math.max(0, this.#slotsMs / this.#slotsSlots);
    const apart = this.#itemsItems * this.#slotsSlots - this.#itemsSlots ** 2;
    if (apart < APART_MIN * this.#itemsItems * this.#slotsSlots) return 0;
    return Math.max(0, (this.#itemsItems * this.#slotsMs - this.#itemsSlots * this.#itemsMs) / apart);
  }

  /** One step that the machine was slow at counts double what the fit says at most, as in the curves of StageCosts. */
  #msMax(items: number, slots: number): number {
    if (this.#steps < STEPS_MIN) return Infinity;
    const { msPerSlot } = this;
    const msPerItem = this.#itemsItems === 0
      ? 0
      : Math.max(0, (this.#itemsMs - msPerSlot * this.#itemsSlots) / this.#itemsItems);
    const fitted = this.#ms + msPerItem * (items - this.#items) + msPerSlot * (slots - this.#slots);
    return 2 * Math.max(0, fitted) + 0.1;
  }
}
