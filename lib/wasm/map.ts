/** KvMap as a thread reads it from shared memory. */
import type { KvMap } from "../ops/kv.ts";
import { firstTokenOffset, slotBaseOffset, tableStartOffset } from "../ops/kv.ts";
import type { Machine } from "./machine.ts";

/** Words of a map in a recorded operation, from some offset on. */
export const MAP_WORDS = 5;

/** What is recorded: word index of the array in memory 0, tokens, sequences, layer, layers. */
export function mapWords(map: KvMap, address: number, layer: number): number[] {
  return [address >>> 2, map.tokens, map.sequences, layer, map.layers];
}

export interface MapView {
  readonly tokens: number;
  readonly sequences: number;
  /** First token of a sequence; `sequences` gives the end. */
  firstToken(sequence: number): number;
  /** Slots stored before this step. */
  slotBase(sequence: number): number;
  /** Word index, in memory 0, of a sequence's page table. */
  table(sequence: number): number;
  /** Slot of a token. */
  slotOf(token: number): number;
  /** Page of a token's slot. */
  pageOf(token: number, slot: number, pageSlots: number): number;
}

export function readMap(machine: Machine, words: Uint32Array, offset: number): MapView {
  const [base, tokens, sequences, layer, layers] = words.subarray(offset, offset + MAP_WORDS);
  const memory = machine.u32;
  const shape = { tokens, sequences, layers, indices: { values: memory } };
  const first = base + firstTokenOffset(shape);
  const slots = base + slotBaseOffset(shape, layer);
  const tables = base + tableStartOffset(shape, layer);
  const firstToken = (sequence: number) => memory[first + sequence];
  return {
    tokens,
    sequences,
    firstToken,
    slotBase: (sequence) => memory[slots + sequence],
    table: (sequence) => base + memory[tables + sequence],
    slotOf(token) {
      const sequence = memory[base + token];
      return memory[slots + sequence] + token - firstToken(sequence);
    },
    pageOf(token, slot, pageSlots) {
      const sequence = memory[base + token];
      return memory[base + memory[tables + sequence] + Math.floor(slot / pageSlots)];
    },
  };
}
