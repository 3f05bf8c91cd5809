/** A ragged batch laid out for the operations: KvMap, tokens, rows to sample. */
import { assert } from "../core/assert.ts";
import { wholeTable } from "./compress/pack.ts";
import type { ForwardSequence } from "./engine.ts";

export interface PackedBatch {
  readonly tokens: Uint32Array;
  readonly positions: Uint32Array;
  /** The u32 array of KvMap. */
  readonly map: Uint32Array;
  readonly sequences: number;
  /** Row of the last token of every sequence that samples, in order. */
  readonly sampleRows: Uint32Array;
  /** Index into `sequences` of each sampled row. */
  readonly sampled: readonly number[];
}

/** Lays sequences end to end. Asserts that every page table reaches the last slot it will need. */
export function packBatch(
  sequences: readonly ForwardSequence[],
  layers: number,
  pageSlots: number,
): PackedBatch {
  const count = sequences.length;
  const total = sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  const tableWords = sequences.reduce(
    (sum, { pageTables, packed }) =>
      sum + pageTables.reduce((words, table) => words + table.length, layers * (packed?.room.length ?? 0)),
    0,
  );
  const header = total + count + 1 + layers * 2 * count;
  const tokens = new Uint32Array(total);
  const positions = new Uint32Array(3 * total);
  const map = new Uint32Array(header + tableWords);
  const rows: number[] = [], sampled: number[] = [];
  let token = 0, table = header;
  for (const [s, sequence] of sequences.entries()) {
    const length = sequence.tokens.length;
    assert(
      length > 0 && sequence.positions.length === 3 * length,
      "a part has tokens and three positions for each",
    );
    assert(
      sequence.pageTables.length === layers && sequence.slotBase.length === layers,
      "one table for each layer",
    );
    tokens.set(sequence.tokens, token);
    positions.set(sequence.positions, 3 * token);
    map.fill(s, token, token + length);
    map[total + s] = token;
    for (let layer = 0; layer < layers; layer++) {
      const pages = wholeTable(sequence, layer, pageSlots);
      assert(
        pages.length * pageSlots >= sequence.slotBase[layer] + length,
        "the page table reaches the last slot",
      );
      const at = total + count + 1 + layer * 2 * count + s;
      map[at] = sequence.slotBase[layer];
      map[at + count] = table;
      map.set(pages, table);
      table += pages.length;
    }
    token += length;
    if (sequence.sampling !== null) {
      rows.push(token - 1);
      sampled.push(s);
    }
  }
  map[total + count] = total;
  return { tokens, positions, map, sequences: count, sampleRows: Uint32Array.from(rows), sampled };
}
