/** What packing makes of the slots that compression keeps: which are stored as codes, and in how many pages. */
import { packedByLayer, packedBytes } from "../lib/engine/compress/pack.ts";
import type { EngineFacts } from "../lib/engine/engine.ts";
import { type KvBits, PACK_SLOTS } from "../lib/ops/kv.ts";
import type { Packing } from "../pool/mod.ts";
import type { Compression } from "./messages.ts";

/** How the slots of a request are packed. */
export interface PackRule {
  readonly bits: KvBits;
  /** Bytes of PACK_SLOTS slots of one layer. */
  readonly groupBytes: number;
  readonly pageBytes: number;
}

/** null without quantisation. */
export function packRule(
  { quantise }: Compression,
  { shape, kvDtype, pageBytes }: Pick<EngineFacts, "shape" | "kvDtype" | "pageBytes">,
): PackRule | null {
  if (quantise === null) return null;
  const { bits } = quantise;
  const groupBytes = packedBytes({ ...shape, dtype: kvDtype }, bits, Uint32Array.of(PACK_SLOTS));
  return { bits, groupBytes, pageBytes };
}

/** The whole groups of what is kept, in each layer; null without a rule. */
export function packingOf(rule: PackRule | null, kept: Uint32Array): Packing | null {
  if (rule === null) return null;
  const slots = packedByLayer(kept);
  const groups = slots.reduce((sum, count) => sum + count, 0) / PACK_SLOTS;
  return { slots, codePages: Math.ceil(groups * rule.groupBytes / rule.pageBytes) };
}
