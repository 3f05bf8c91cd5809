import assert from "node:assert/strict";
import fc from "fast-check";
import { checkPool, checkPoolIdle } from "../../pool/integrity.ts";
import { KvPool } from "../../pool/kv_pool.ts";
import { chainOf, type PrefixChain } from "../../pool/prefix_chain.ts";
import type { SequencePages } from "../../pool/sequence_pages.ts";

/** A prompt: whole pages of one letter each, a rest that is no whole page, and a tenant. */
interface Prompt {
  readonly letters: string;
  readonly rest: number;
  readonly salt: string;
}

/** A prefix entry, by hand; its key spells the tenant and every page up to its own. */
interface Entry {
  readonly namers: Set<Running>;
}

interface Running {
  readonly id: number;
  readonly pages: SequencePages;
  readonly prompt: Prompt;
  /** Whether it may share; not without a chain, and not once it is compressed. */
  shares: boolean;
  /** Its first pages in each layer that are prefix entries. */
  shared: number;
  slots: number[];
  target: number[] | null;
  /** How often it was compressed. */
  copies: number;
}

/** The naive pool: maps, sets, lists, and what stands in every page of the device's memory. */
class Model {
  readonly running: Running[] = [];
  readonly entries = new Map<string, Entry>();
  /** Keys of entries that no sequence names, in the order in which they are evicted. */
  readonly idle: string[] = [];
  readonly memory = new Map<number, string>();
  opened = 0;

  constructor(readonly pool: KvPool) {}

  key({ salt, letters }: Prompt, page: number): string {
    return `${salt}:${letters.slice(0, page + 1)}`;
  }

  chain({ salt, letters, rest }: Prompt): PrefixChain {
    const { pageSlots } = this.pool.shape;
    const tokens = [...letters].flatMap((letter) => new Array<number>(pageSlots).fill(letter.charCodeAt(0)));
    return chainOf([...tokens, ...new Array<number>(rest % pageSlots).fill(0)], pageSlots, [], salt);
  }

  pagesOf(slots: readonly number[]): number {
    return slots.reduce((sum, count) => sum + Math.ceil(count / this.pool.shape.pageSlots), 0);
  }

  missing(table: readonly number[], slots: readonly number[]): number {
    return slots.reduce(
      (sum, count, layer) => sum + Math.max(0, this.pagesOf([count]) - this.pagesOf([table[layer]])),
      0,
    );
  }

  get free(): number {
    const { layers, pageCount } = this.pool.shape;
    const privately = this.running.reduce(
      (sum, { slots, target, shared }) =>
        sum + this.pagesOf(slots) + this.pagesOf(target ?? []) - shared * layers,
      0,
    );
    return pageCount - privately - this.entries.size * layers;
  }

  get evictable(): number {
    return this.idle.length * this.pool.shape.layers;
  }

  cached(prompt: Prompt): number {
    let pages = 0;
    while (pages < prompt.letters.length && this.entries.has(this.key(prompt, pages))) pages++;
    return pages;
  }

  /** Evicts until so many pages are free, or says that it cannot. */
  makeRoom(pages: number): boolean {
    if (pages > this.free + this.evictable) return false;
    while (this.free < pages) this.entries.delete(this.idle.shift()!);
    return true;
  }

  letGoOfEntries(running: Running): void {
    for (let page = running.shared - 1; page >= 0; page--) {
      const key = this.key(running.prompt, page);
      const { namers } = this.entries.get(key)!;
      namers.delete(running);
      if (namers.size === 0) this.idle.push(key);
    }
    running.shared = 0;
  }

  /** What a sequence expects in a page of its table. */
  content({ id, shares, prompt, copies }: Running, layer: number, page: number): string {
    return shares && page < prompt.letters.length
      ? `raw ${this.key(prompt, page)} in layer ${layer}`
      : `page ${page} of layer ${layer} of sequence ${id}, copy ${copies}`;
  }

  /** The device writes the pages that a table got since it had `before` slots. */
  write(tables: readonly Uint32Array[], before: readonly number[], writer: Running): void {
    for (const [layer, table] of tables.entries()) {
      for (let page = this.pagesOf([before[layer]]); page < table.length; page++) {
        this.memory.set(table[page], this.content(writer, layer, page));
      }
    }
  }

  compare(): void {
    const { pool } = this;
    checkPool(pool);
    assert.equal(pool.freePages, this.free);
    assert.equal(pool.evictablePages, this.evictable);
    assert.equal(pool.sequences.size, this.running.length);
    assert.equal(pool.cache.size, this.entries.size);
    for (const running of this.running) {
      const { pages, prompt, slots, target, shared } = running;
      assert.equal(pages.sharedPages, shared);
      assert.equal(pool.cached(this.chain(prompt)), this.cached(prompt) * pool.shape.pageSlots);
      for (const [layer, table] of pages.table.tables.entries()) {
        assert.equal(table.length, this.pagesOf([slots[layer]]));
        for (const [page, at] of table.entries()) {
          assert.equal(
            this.memory.get(at),
            this.content(running, layer, page),
            "nobody wrote over this page",
          );
        }
      }
      assert.equal(pages.target?.pages, target === null ? undefined : this.pagesOf(target));
    }
  }
}

type Command = fc.Command<Model, KvPool>;

function command(name: string, act: (model: Model, pool: KvPool) => void): Command {
  return {
    check: () => true,
    run(model, pool) {
      const version = pool.cacheVersion, keys = [...model.entries.keys()].join();
      act(model, pool);
      model.compare();
      if ([...model.entries.keys()].join() !== keys) assert.notEqual(pool.cacheVersion, version);
    },
    toString: () => name,
  };
}

/** Acts on one running sequence when there is one. */
function on(
  name: string,
  choice: number,
  act: (running: Running, model: Model, pool: KvPool) => void,
): Command {
  return command(`${name}(${choice})`, (model, pool) => {
    if (model.running.length > 0) act(model.running[choice % model.running.length], model, pool);
  });
}

function open(prompt: Prompt, fewer: number, shares: boolean): Command {
  return command(`open(${JSON.stringify(prompt)}, ${fewer}, ${shares})`, (model, pool) => {
    const { layers, pageSlots } = pool.shape;
    const cached = model.cached(prompt);
    const shared = shares ? Math.max(0, cached - fewer) : 0;
    const expectedSlots = new Array<number>(layers).fill(prompt.letters.length * pageSlots + prompt.rest);
    const opening = pool.openingPages(model.chain(prompt), shared * pageSlots, expectedSlots);
    const available = pool.availablePages;
    const pages = pool.open(shares ? model.chain(prompt) : null, shared * pageSlots);
    // What beginning takes, and what is missing then, is what was foretold.
    assert.equal(available - pool.availablePages + pool.missing(pages, expectedSlots), opening);
    const slots = new Array<number>(layers).fill(shared * pageSlots);
    const id = model.opened++;
    const running = { id, pages, prompt, shares, shared, slots, target: null, copies: 0 };
    model.running.push(running);
    for (let page = 0; page < shared; page++) {
      const key = model.key(prompt, page);
      if (model.idle.includes(key)) model.idle.splice(model.idle.indexOf(key), 1);
      model.entries.get(key)!.namers.add(running);
    }
  });
}

function grow(choice: number, more: readonly number[]): Command {
  return on(`grow by ${more}`, choice, (running, model, pool) => {
    const before = running.slots;
    const slots = before.map((count, layer) => count + more[layer % more.length]);
    const missing = model.missing(before, slots);
    assert.equal(pool.missing(running.pages, slots), missing);
    const fits = model.makeRoom(missing);
    assert.equal(pool.grow(running.pages, slots), fits);
    if (!fits) return;
    running.slots = slots;
    model.write(running.pages.table.tables, before, running);
  });
}

function prefill(choice: number): Command {
  return on("prefill", choice, (running, model, pool) => {
    if (running.copies > 0 || running.target !== null) return;
    const tokens = running.prompt.letters.length * pool.shape.pageSlots;
    const before = running.slots, slots = before.map((count) => Math.max(count, tokens));
    if (!model.makeRoom(model.missing(before, slots))) return;
    assert(pool.grow(running.pages, slots));
    running.slots = slots;
    model.write(running.pages.table.tables, before, running);
    publishAll(running, model, pool, tokens);
  });
}

function publish(choice: number, tokens: number): Command {
  return on(`publish ${tokens}`, choice, (running, model, pool) => {
    publishAll(running, model, pool, Math.min(tokens, ...running.slots));
  });
}

function publishAll(running: Running, model: Model, pool: KvPool, tokens: number): void {
  pool.publish(running.pages, tokens);
  if (!running.shares) return;
  const pages = Math.min(running.prompt.letters.length, Math.floor(tokens / pool.shape.pageSlots));
  while (running.shared < pages && !model.entries.has(model.key(running.prompt, running.shared))) {
    model.entries.set(model.key(running.prompt, running.shared++), { namers: new Set([running]) });
  }
}

function beginReplacement(choice: number, divisor: number): Command {
  return on("beginReplacement", choice, (running, model, pool) => {
    if (running.target !== null) return;
    const kept = running.slots.map((count, layer) => Math.ceil(count / (divisor + layer)));
    const fits = model.makeRoom(model.pagesOf(kept));
    assert.equal(pool.beginReplacement(running.pages, kept), fits);
    if (!fits) return;
    running.target = kept;
    const copy = { ...running, shares: false, copies: running.copies + 1 };
    model.write(running.pages.target!.tables, kept.map(() => 0), copy);
  });
}

function abandonReplacement(choice: number): Command {
  return on("abandonReplacement", choice, (running, _model, pool) => {
    if (running.target === null) return;
    pool.abandonReplacement(running.pages);
    running.target = null;
  });
}

function finishReplacement(choice: number): Command {
  return on("finishReplacement", choice, (running, model, pool) => {
    if (running.target === null) return;
    pool.finishReplacement(running.pages, 1, 2);
    model.letGoOfEntries(running);
    running.slots = running.target;
    running.target = null;
    running.shares = false;
    running.copies++;
  });
}

function release(choice: number): Command {
  return on("release", choice, (running, model, pool) => {
    pool.release(running.pages);
    model.letGoOfEntries(running);
    model.running.splice(model.running.indexOf(running), 1);
  });
}

const clearCache = command("clearCache()", (model, pool) => {
  assert.equal(pool.clearCache(), model.evictable);
  for (const key of model.idle.splice(0)) model.entries.delete(key);
});

Deno.test("KvPool and its prefix cache agree with maps and sets after every operation, and end empty", () => {
  const choice = fc.nat(1000);
  const prompt = fc.record({
    letters: fc.array(fc.constantFrom("a", "b"), { maxLength: 5 }).map((letters) => letters.join("")),
    rest: fc.nat(15),
    salt: fc.constantFrom("", "", "tenant"),
  });
  const commands = fc.commands([
    fc.tuple(prompt, fc.constantFrom(0, 0, 1, 2), fc.constantFrom(true, true, true, false))
      .map(([prompt, fewer, shares]) => open(prompt, fewer, shares)),
    choice.map(prefill),
    fc.tuple(choice, fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 3 }))
      .map(([index, more]) => grow(index, more)),
    fc.tuple(choice, fc.nat(80)).map(([index, tokens]) => publish(index, tokens)),
    fc.tuple(choice, fc.integer({ min: 1, max: 5 })).map(([index, by]) => beginReplacement(index, by)),
    choice.map(abandonReplacement),
    choice.map(finishReplacement),
    choice.map(release),
    choice.map(release),
    fc.constantFrom(clearCache),
  ], { maxCommands: 100, size: "max" });
  const shape = fc.record({
    layers: fc.integer({ min: 1, max: 4 }),
    pageSlots: fc.constantFrom(1, 2, 4, 16),
    pageBytes: fc.constant(64),
    pageCount: fc.integer({ min: 1, max: 60 }),
  });
  fc.assert(
    fc.property(shape, commands, (shape, steps) => {
      const pool = new KvPool(shape), model = new Model(pool);
      fc.modelRun(() => ({ model, real: pool }), steps);
      for (const { pages } of model.running) pool.release(pages);
      checkPoolIdle(pool);
      assert.equal(pool.clearCache(), model.entries.size * shape.layers);
      checkPoolIdle(pool);
      assert.equal(pool.freePages, shape.pageCount);
    }),
    { numRuns: 400 },
  );
});
