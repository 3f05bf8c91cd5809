import assert from "node:assert/strict";
import fc from "fast-check";
import { Buddy } from "../../pool/buddy.ts";
import { checkBuddy, checkBuddyIdle } from "../../pool/integrity.ts";

interface Held {
  readonly offset: number;
  readonly units: number;
  readonly run: boolean;
}

/** The naive allocator: who owns each unit. */
class Model {
  readonly owner: (Held | null)[];

  constructor(readonly capacity: number) {
    this.owner = new Array<Held | null>(capacity).fill(null);
  }

  /** Whether any aligned stretch of 2^order units is wholly free: exactly then a buddy allocator finds one. */
  hasBlock(order: number): boolean {
    const size = 2 ** order;
    for (let at = 0; at + size <= this.capacity; at += size) {
      if (this.owner.slice(at, at + size).every((owner) => owner === null)) return true;
    }
    return false;
  }

  take(held: Held): void {
    for (let unit = held.offset; unit < held.offset + held.units; unit++) {
      assert(unit < this.capacity, "a block lies inside");
      assert.equal(this.owner[unit], null, `unit ${unit} was free`);
      this.owner[unit] = held;
    }
  }

  giveBack(held: Held): void {
    for (let unit = held.offset; unit < held.offset + held.units; unit++) this.owner[unit] = null;
  }

  held(): Held[] {
    return [...new Set(this.owner)].filter((held) => held !== null);
  }
}

interface Real {
  readonly buddy: Buddy;
}

type Command = fc.Command<Model, Real>;

function compare(model: Model, { buddy }: Real): void {
  checkBuddy(buddy);
  assert.equal(buddy.allocatedUnits, model.owner.filter((owner) => owner !== null).length);
  let order = buddy.largestFreeOrder;
  if (order >= 0) assert(model.hasBlock(order), "the largest free order is free");
  order++;
  assert(!model.hasBlock(order), "no longer block is free");
}

function allocate(order: number): Command {
  return {
    check: () => true,
    run(model, real) {
      const expected = model.hasBlock(order);
      const offset = real.buddy.allocate(order);
      assert.equal(offset !== null, expected, "a block is found exactly when there is one");
      if (offset !== null) {
        assert.equal(offset % 2 ** order, 0);
        model.take({ offset, units: 2 ** order, run: false });
      }
      compare(model, real);
    },
    toString: () => `allocate(${order})`,
  };
}

function allocateRun(units: number): Command {
  return {
    check: () => true,
    run(model, real) {
      const expected = model.hasBlock(Math.ceil(Math.log2(units)));
      const offset = real.buddy.allocateRun(units);
      assert.equal(offset !== null, expected, "a run is found exactly when a block that holds it is free");
      if (offset !== null) model.take({ offset, units, run: true });
      compare(model, real);
    },
    toString: () => `allocateRun(${units})`,
  };
}

function release(choice: number): Command {
  return {
    check: (model) => model.held().length > 0,
    run(model, real) {
      const all = model.held();
      const held = all[choice % all.length];
      if (held.run) real.buddy.freeRun(held.offset, held.units);
      else assert.equal(2 ** real.buddy.free(held.offset), held.units);
      model.giveBack(held);
      compare(model, real);
    },
    toString: () => `release(${choice})`,
  };
}

Deno.test("Buddy agrees with a naive allocator after every operation, and ends as it began", () => {
  const commands = fc.commands([
    fc.integer({ min: 0, max: 6 }).map(allocate),
    fc.integer({ min: 1, max: 40 }).map(allocateRun),
    fc.nat(1000).map(release),
    fc.nat(1000).map(release),
  ], { maxCommands: 80, size: "max" });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 70 }), commands, (capacity, steps) => {
      const model = new Model(capacity), buddy = new Buddy(capacity);
      fc.modelRun(() => ({ model, real: { buddy } }), steps);
      for (const held of model.held()) {
        if (held.run) buddy.freeRun(held.offset, held.units);
        else buddy.free(held.offset);
      }
      checkBuddy(buddy);
      checkBuddyIdle(buddy);
    }),
    { numRuns: 300 },
  );
});

/** One operation of the exhaustive walk: a block of that order, or the n-th held block back. */
type Move = { readonly allocate: number } | { readonly free: number };

function replay(capacity: number, moves: readonly Move[]): { buddy: Buddy; held: number[] } {
  const buddy = new Buddy(capacity);
  const held: number[] = [];
  for (const move of moves) {
    if ("free" in move) buddy.free(held.splice(move.free, 1)[0]);
    else {
      const offset = buddy.allocate(move.allocate);
      if (offset !== null) held.push(offset);
    }
  }
  return { buddy, held };
}

function arrangement(buddy: Buddy): string {
  const blocks: string[] = [];
  buddy.forEachBlock((offset, order, free) => blocks.push(`${offset}:${order}:${free}`));
  return blocks.join(" ");
}

Deno.test("Buddy keeps its invariants in every state that a tiny allocator can reach", () => {
  // Arrangements of a block of order n: free, allocated, or two halves that are not both free: a(n) = 2 + a(n − 1)² − 1.
  const expected = new Map([[1, 2], [2, 5], [3, 5 * 2], [4, 26], [5, 26 * 2], [6, 26 * 5], [8, 677]]);
  for (const [capacity, count] of expected) {
    const seen = new Set<string>(), arrangements = new Set<string>();
    let frontier: Move[][] = [[]];
    while (frontier.length > 0) {
      const next: Move[][] = [];
      for (const moves of frontier) {
        const { buddy, held } = replay(capacity, moves);
        const key = `${arrangement(buddy)} ${JSON.stringify(buddy.freeLists())}`;
        if (seen.has(key)) continue;
        seen.add(key);
        arrangements.add(arrangement(buddy));
        checkBuddy(buddy);
        if (held.length === 0) checkBuddyIdle(buddy);
        for (let order = 0; order <= 3; order++) next.push([...moves, { allocate: order }]);
        for (let index = 0; index < held.length; index++) next.push([...moves, { free: index }]);
      }
      frontier = next;
    }
    assert.equal(arrangements.size, count, `arrangements of ${capacity} units`);
  }
});
