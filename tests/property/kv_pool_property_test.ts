import assert from "node:assert/strict";
import fc from "fast-check";
import { checkPool, checkPoolIdle } from "../../pool/integrity.ts";
import { KvPool, type SequencePages } from "../../pool/mod.ts";

/** What a sequence should hold, counted by hand. */
interface Entry {
  readonly pages: SequencePages;
  quota: number;
  slots: number[];
  target: number[] | null;
}

interface Model {
  readonly entries: Entry[];
}

type Command = fc.Command<Model, KvPool>;

function pagesOf(pool: KvPool, slots: readonly number[]): number {
  return slots.reduce((sum, count) => sum + Math.ceil(count / pool.shape.pageSlots), 0);
}

function compare(model: Model, pool: KvPool): void {
  checkPool(pool);
  const used = model.entries.reduce(
    (sum, { slots, target }) => sum + pagesOf(pool, slots) + pagesOf(pool, target ?? []),
    0,
  );
  assert.equal(pool.usedPages, used);
  assert.equal(pool.promisedPages, model.entries.reduce((sum, { quota }) => sum + quota, 0));
  assert.equal(pool.sequences.size, model.entries.length);
  for (const { pages, slots } of model.entries) {
    assert.deepEqual(
      pages.table.tables.map((table) => table.length),
      slots.map((count) => Math.ceil(count / pool.shape.pageSlots)),
    );
  }
}

function reserve(quota: number): Command {
  return {
    check: () => true,
    run(model, pool) {
      const free = pool.shape.pageCount - model.entries.reduce((sum, entry) => sum + entry.quota, 0);
      const reservation = pool.reserve(quota);
      assert.equal(reservation.ok, quota <= free);
      if (reservation.ok) {
        const slots = new Array<number>(pool.shape.layers).fill(0);
        model.entries.push({ pages: reservation.pages, quota, slots, target: null });
      } else assert.deepEqual(reservation.shortage, { needed: quota, free });
      compare(model, pool);
    },
    toString: () => `reserve(${quota})`,
  };
}

/** Acts on one entry when it may. */
function on(name: string, choice: number, act: (entry: Entry, model: Model, pool: KvPool) => void): Command {
  return {
    check: (model) => model.entries.length > 0,
    run(model, pool) {
      act(model.entries[choice % model.entries.length], model, pool);
      compare(model, pool);
    },
    toString: () => `${name}(${choice})`,
  };
}

function grow(choice: number, more: readonly number[]): Command {
  return on("grow", choice, (entry, _model, pool) => {
    const slots = entry.slots.map((count, layer) => count + more[layer % more.length]);
    if (pagesOf(pool, slots) + pagesOf(pool, entry.target ?? []) > entry.quota) return;
    const before = entry.pages.table.tables.map((table) => [...table]);
    pool.grow(entry.pages, slots);
    for (const [layer, table] of before.entries()) {
      assert.deepEqual(
        [...entry.pages.table.tables[layer].slice(0, table.length)],
        table,
        "stored slots stay",
      );
    }
    entry.slots = slots;
  });
}

function beginReplacement(choice: number, divisor: number): Command {
  return on("beginReplacement", choice, (entry, _model, pool) => {
    const kept = entry.slots.map((count) => Math.ceil(count / divisor));
    if (entry.target !== null || pagesOf(pool, entry.slots) + pagesOf(pool, kept) > entry.quota) return;
    pool.beginReplacement(entry.pages, kept);
    entry.target = kept;
  });
}

function finishReplacement(choice: number): Command {
  return on("finishReplacement", choice, (entry, _model, pool) => {
    if (entry.target === null) return;
    const expected = entry.pages.target!.tables.map((table) => [...table]);
    entry.slots = entry.target;
    entry.target = null;
    entry.quota = Math.max(pagesOf(pool, entry.slots), Math.ceil(entry.quota / 2));
    pool.finishReplacement(entry.pages, entry.quota);
    assert.deepEqual(
      entry.pages.table.tables.map((table) => [...table]),
      expected,
      "the target becomes the table",
    );
  });
}

function release(choice: number): Command {
  return on("release", choice, (entry, model, pool) => {
    pool.release(entry.pages);
    model.entries.splice(model.entries.indexOf(entry), 1);
  });
}

Deno.test("KvPool agrees with pages counted by hand after every operation, and ends empty", () => {
  const choice = fc.nat(1000);
  const commands = fc.commands([
    fc.integer({ min: 1, max: 40 }).map(reserve),
    fc.tuple(choice, fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 3 }))
      .map(([index, more]) => grow(index, more)),
    fc.tuple(choice, fc.integer({ min: 1, max: 5 })).map(([index, by]) => beginReplacement(index, by)),
    choice.map(finishReplacement),
    choice.map(release),
  ], { maxCommands: 100, size: "max" });
  const shape = fc.record({
    layers: fc.integer({ min: 1, max: 5 }),
    pageSlots: fc.constantFrom(1, 2, 4, 16),
    pageBytes: fc.constant(64),
    pageCount: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(shape, commands, (shape, steps) => {
      const pool = new KvPool(shape), model: Model = { entries: [] };
      fc.modelRun(() => ({ model, real: pool }), steps);
      for (const { pages } of model.entries) pool.release(pages);
      checkPoolIdle(pool);
    }),
    { numRuns: 300 },
  );
});
