/** What the pool tells of itself. */
import type { Buddy } from "./buddy.ts";
import type { PoolShape } from "./pool_shape.ts";
import type { PageOwner } from "./sequence_pages.ts";

export interface PoolGauges {
  /** Every page once; they add up to the pool. `cached` pages are named by the prefix cache alone. */
  readonly pages: Readonly<Record<PageOwner | "cached" | "free", number>>;
  readonly largestFreeBlockPages: number;
  readonly pageSlots: number;
  /** Of a token in all layers together. */
  readonly tokenBytes: number;
  /** 1 − stored slots ÷ slots of used pages; 0 when none is used. */
  readonly internalFragmentation: number;
  /** 1 − longest free block ÷ free pages; 0 when none is free. */
  readonly externalFragmentation: number;
  /** Bytes of raw caches × seconds that they outlived their written compressed copies. */
  readonly zombieByteSeconds: number;
  /** Tokens in whole pages of the prompts that began. */
  readonly lookupTokens: number;
  /** Those of them that were stored already. */
  readonly hitTokens: number;
  /** Prefix entries evicted: one page of every layer each. */
  readonly evictions: number;
  readonly usedBytes: number;
  readonly peakUsedBytes: number;
}

export function tokenBytes({ layers, pageBytes, pageSlots }: PoolShape): number {
  return layers * pageBytes / pageSlots;
}

export function internalFragmentation(unusedSlots: number, usedSlots: number): number {
  return usedSlots === 0 ? 0 : unusedSlots / usedSlots;
}

export function externalFragmentation(buddy: Buddy): number {
  return buddy.freeUnits === 0 ? 0 : 1 - largestFreeBlock(buddy) / buddy.freeUnits;
}

export function largestFreeBlock(buddy: Buddy): number {
  const order = buddy.largestFreeOrder;
  return order < 0 ? 0 : 2 ** order;
}
