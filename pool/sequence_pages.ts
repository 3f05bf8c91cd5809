/** The pages of one sequence. Only the pool changes it. */
import type { PageTable } from "./page_table.ts";
import type { PackedPages } from "./packing.ts";
import { NO_ENTRY } from "./prefix_cache.ts";
import type { PrefixChain } from "./prefix_chain.ts";

export const NO_PAGES = new Uint32Array(0);

/**
 * What the pages of a sequence are: as prefill wrote them; those with a shorter copy on its way; the shorter copy; what
 * decoding adds to. Nothing is copied between the states but by the compressor.
 */
export type PageOwner = "raw" | "compressing" | "compact" | "decoding";

export class SequencePages {
  owner: PageOwner = "raw";
  /** Where the shorter cache is being written while the sequence is compressed. */
  target: PageTable | null = null;
  /** Pages of the first slots, which a compressed sequence may have packed: the table has those behind them. */
  packed: PackedPages | null = null;
  /** Where the copy will be packed; its room is among the target's pages. */
  targetPacked: PackedPages | null = null;
  /** What to be again when a replacement is abandoned. */
  ownerBefore: PageOwner = "raw";
  /** Where prefill keeps what compression will need. */
  keep: Uint32Array = NO_PAGES;
  /** The last prefix entry it names; it names all parents of that entry. */
  leaf = NO_ENTRY;
  /** Pages of its run in a contiguous pool, in use or not; 0 in a paged one. */
  reserved = 0;
  /** How many entries that are: the first pages of each layer, shared through the prefix cache. */
  sharedPages = 0;

  constructor(
    public table: PageTable,
    /** Null when nothing is shared: no cache, or a compressed sequence. */
    public chain: PrefixChain | null,
  ) {}

  /** Pages named, of both tables, packed slots and what is kept; shared ones too. All of a run. */
  get held(): number {
    if (this.reserved > 0) return this.reserved;
    const packed = this.packed === null ? 0 : this.packed.codes.length + this.packed.room.length;
    return this.table.pages + packed + (this.target?.pages ?? 0) + (this.targetPacked?.codes.length ?? 0) +
      this.keep.length;
  }

  /** Slots of each layer that the table has to store when there are `slots` in all. */
  tableSlots(slots: ArrayLike<number>): ArrayLike<number> {
    const { packed } = this;
    if (packed === null) return slots;
    return packed.slots.map((count, layer) => slots[layer] - count);
  }

  /** Pages that nobody else names. */
  get privatePages(): number {
    return this.held - this.sharedPages * this.table.tables.length;
  }

  get unusedSlots(): number {
    return this.table.unusedSlots + (this.target?.unusedSlots ?? 0);
  }
}
