/** A quick run on servers of any pace: which turns it takes, and of how many requests. */
import assert from "node:assert/strict";
import {
  CELLS_S_MAX,
  hasOthers,
  hasTurn,
  requestsOfCell,
  type Spent,
  spentOn,
  timeLimitsS,
} from "../../../bench/experiments/turn_limit.ts";

/** As the policies offer them. */
const LOADS = [
  ...[0.5, 0.8, 1].map((rate) => ({ rate, requests: 30, turns: 70 })),
  ...[2, 4].map((rate) => ({ rate, requests: 240, turns: 10 })),
];
const ROUNDS = 10, WAITING_MAX = 32, SIDES = 2;

/** Turns of each load, and seconds of all of them, if a server answers so many a second. */
function planned(perSecond: number): { turns: number[]; seconds: number } {
  const limitsS = timeLimitsS(LOADS, WAITING_MAX);
  const spent: Spent[] = LOADS.map(() => ({ turns: 0, seconds: 0 }));
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [at, { rate, requests, turns }] of LOADS.entries()) {
      for (let i = 0; i < turns / ROUNDS; i++) {
        if (!hasTurn(spent[at], limitsS[at], round, ROUNDS)) break;
        const count = requestsOfCell(requests, rate, perSecond);
        const cellS = (count / rate + (rate > 1 ? WAITING_MAX : 4)) / perSecond;
        spent[at] = { turns: spent[at].turns + 1, seconds: spent[at].seconds + SIDES * cellS };
      }
    }
  }
  return {
    turns: spent.map(({ turns }) => turns),
    seconds: spent.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

Deno.test("a quick run takes all turns at 40 requests/s, and stays within its time at any smaller rate", () => {
  assert.deepEqual(planned(40).turns, [70, 70, 70, 10, 10]);
  for (const perSecond of [20, 10, 4, 2, 1]) {
    const { turns, seconds } = planned(perSecond);
    assert.ok(seconds <= 1.05 * CELLS_S_MAX, `${seconds} s at ${perSecond} requests/s`);
    assert.ok(turns.every((count) => count >= 1), turns.join(" "));
  }
  const half = planned(16).turns;
  assert.ok(half.every((count, i) => count >= 0.4 * planned(40).turns[i]), half.join(" "));
});

Deno.test("timeLimitsS shares all of the time among the loads, whatever they are", () => {
  for (const loads of [LOADS, LOADS.slice(3), LOADS.slice(0, 1)]) {
    const sum = timeLimitsS(loads, WAITING_MAX).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum - CELLS_S_MAX) < 1e-6, `${sum}`);
  }
});

Deno.test("hasTurn spreads a load's time over the rounds, with one turn in any case", () => {
  assert.ok(hasTurn({ turns: 0, seconds: 0 }, 1, 1, 10));
  // Two turns took 8 s; a third is over at 12 s.
  const spent = { turns: 2, seconds: 8 };
  assert.deepEqual([2, 3].map((round) => hasTurn(spent, 40, round, 10)), [false, true]);
  assert.ok(hasTurn(spent, Infinity, 1, 3));
});

Deno.test("hasOthers lets the others into the second turn and those after it, if they take a fifth of the time at most", () => {
  const others = { times: 2, ofTurns: 2, allTurns: 70 };
  const at = (turns: number, turnS: number) => hasOthers({ turns, seconds: turns * turnS }, 100, others);
  assert.deepEqual([0, 1, 2, 3].map((turns) => at(turns, 5)), [false, true, true, false]);
  assert.equal(at(1, 5.1), false);
  // Without a limit, and where there is only one turn, the first says nothing.
  assert.ok(hasOthers({ turns: 0, seconds: 0 }, Infinity, { ...others, allTurns: 3 }));
  assert.ok(hasOthers({ turns: 0, seconds: 0 }, 100, { ...others, allTurns: 1 }));
});

Deno.test("spentOn counts turns once for all sides, and attempts as often as they were made", () => {
  const row = (policy: string, round: number, tries: number) => ({ policy, round, tries, seconds: 2 });
  const rows = [row("dynamic", 1, 1), row("p1c1d8", 1, 1), row("dynamic", 8, 3), row("p1c1d8", 8, 3)];
  assert.deepEqual(spentOn(rows), { turns: 2, seconds: 16 });
});

Deno.test("requestsOfCell keeps what is due in time, and never fewer than 8", () => {
  assert.deepEqual([40, 2, 1, 0.1].map((perSecond) => requestsOfCell(30, 0.5, perSecond)), [30, 15, 8, 8]);
  assert.equal(requestsOfCell(4, 0.5, 0.1), 4);
});
