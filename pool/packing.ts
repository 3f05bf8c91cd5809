/** Slots stored as codes of few bits, as far as pages are concerned: where a cache begins with them, raw slots follow. */
import type { PageTable } from "./page_table.ts";

/** What of a shorter copy is packed once it is written. */
export interface Packing {
  /** Slots that are packed, per layer, from slot 0 on: whole pages of them. */
  readonly slots: Uint32Array;
  /** Pages of their codes, all layers together. */
  readonly codePages: number;
}

/** The pages of packed slots. */
export interface PackedPages {
  readonly slots: Uint32Array;
  readonly codes: Uint32Array;
  /** Where one layer at a time is unpacked: as many pages as the layer with the most packed slots had. */
  readonly room: Uint32Array;
}

/** Pages of the room: those of the layer that packs most. */
export function roomPages({ slots }: Packing, pageSlots: number): number {
  return Math.max(...slots) / pageSlots;
}

/** The room is among the pages of the copy that packing empties: those of the layer that packs most. */
export function roomOf(packing: Packing, copy: PageTable): Uint32Array {
  const count = roomPages(packing, copy.pageSlots);
  return copy.tables[packing.slots.indexOf(Math.max(...packing.slots))].slice(0, count);
}
