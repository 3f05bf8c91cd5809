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

/** Gives back some adjacent units of what was taken at once; what is left on either side stays. */
function releasePart(choice: number, from: number, count: number): Command {
  return {
    check: (model) => model.held().length > 0,
    run(model, { buddy }) {
      const all = model.held();
      const held = all[choice % all.length], end = held.offset + held.units;
      const offset = held.offset + from % held.units;
      const units = 1 + count % (end - offset);
      buddy.freeRun(offset, units);
      model.giveBack(held);
      if (offset > held.offset) model.take({ offset: held.offset, units: offset - held.offset, run: true });
      if (offset + units < end) {
        model.take({ offset: offset + units, units: end - offset - units, run: true });
      }
      compare(model, { buddy });
    },
    toString: () => `releasePart(${choice}, ${from}, ${count})`,
  };
}

Deno.test("Buddy agrees with a naive allocator after every operation, and ends as it began", () => {
  const commands = fc.commands([
    fc.integer({ min: 0, max: 6 }).map(allocate),
    fc.integer({ min: 1, max: 40 }).map(allocateRun),
    fc.nat(1000).map(release),
    fc.nat(1000).map(release),
    fc.tuple(fc.nat(1000), fc.nat(100), fc.nat(100)).map((numbers) => releasePart(...numbers)),
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

/** One operation of the exhaustive walk: a block of that order; the block at that offset, or those units, back. */
type Move =
  | { readonly allocate: number }
  | { readonly free: number }
  | { readonly freeRun: number; readonly units: number };

function replay(capacity: number, moves: readonly Move[]): Buddy {
  const buddy = new Buddy(capacity);
  for (const move of moves) {
    if ("allocate" in move) buddy.allocate(move.allocate);
    else if ("free" in move) buddy.free(move.free);
    else buddy.freeRun(move.freeRun, move.units);
  }
  return buddy;
}

interface Block {
  readonly offset: number;
  readonly order: number;
  readonly free: boolean;
}

function blocksOf(buddy: Buddy): Block[] {
  const blocks: Block[] = [];
  buddy.forEachBlock((offset, order, free) => blocks.push({ offset, order, free }));
  return blocks;
}

/** For each unit: is it allocated. */
function allocatedUnits(buddy: Buddy): boolean[] {
  return blocksOf(buddy).flatMap(({ order, free }) => new Array<boolean>(2 ** order).fill(!free));
}

/** All that can be done next, other than what is refused as our own mistake. */
function movesFrom(buddy: Buddy): Move[] {
  const moves: Move[] = [0, 1, 2, 3].map((order) => ({ allocate: order }));
  for (const { offset, free } of blocksOf(buddy)) if (!free) moves.push({ free: offset });
  const allocated = allocatedUnits(buddy);
  for (let offset = 0; offset < allocated.length; offset++) {
    for (let end = offset; allocated[end]; end++) moves.push({ freeRun: offset, units: end + 1 - offset });
  }
  return moves;
}

/** The last move did what it says, against the state before it. */
function checkMove(before: Buddy, after: Buddy, move: Move): void {
  checkBuddy(after);
  const units = allocatedUnits(before);
  if ("allocate" in move) {
    const taken = allocatedUnits(after).flatMap((allocated, unit) => allocated && !units[unit] ? [unit] : []);
    const size = 2 ** move.allocate;
    const fits = units.some((_, unit) =>
      unit % size === 0 && unit + size <= units.length && !units.slice(unit, unit + size).includes(true)
    );
    assert.deepEqual(taken, fits ? Array.from({ length: size }, (_, i) => taken[0] + i) : []);
    if (fits) assert.equal(taken[0] % size, 0);
    for (const unit of taken) units[unit] = true;
  } else if ("free" in move) {
    const { order } = blocksOf(before).find(({ offset }) => offset === move.free)!;
    units.fill(false, move.free, move.free + 2 ** order);
  } else units.fill(false, move.freeRun, move.freeRun + move.units);
  assert.deepEqual(allocatedUnits(after), units, "nothing else changed hands");
  if (after.allocatedUnits === 0) checkBuddyIdle(after);
}

Deno.test("Buddy does every operation right in every state that a tiny allocator can reach", () => {
  // Arrangements of a block of order n: free, allocated, or two halves that are not both free: a(n) = 2 + a(n − 1)² − 1.
  const expected = new Map([[1, 2], [2, 5], [3, 5 * 2], [4, 26], [5, 26 * 2], [6, 26 * 5], [7, 26 * 5 * 2]]);
  for (const [capacity, count] of expected.set(8, 677)) {
    const seen = new Set<string>(), arrangements = new Set<string>();
    let frontier: Move[][] = [[]];
    while (frontier.length > 0) {
      const next: Move[][] = [];
      for (const moves of frontier) {
        const buddy = replay(capacity, moves);
        const key = JSON.stringify([blocksOf(buddy), buddy.freeLists()]);
        if (seen.has(key)) continue;
        seen.add(key);
        arrangements.add(JSON.stringify(blocksOf(buddy)));
        for (const move of movesFrom(buddy)) {
          const then = [...moves, move];
          checkMove(buddy, replay(capacity, then), move);
          next.push(then);
        }
      }
      frontier = next;
    }
    assert.equal(arrangements.size, count, `arrangements of ${capacity} units`);
  }
});
