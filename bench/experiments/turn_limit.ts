/**
 * How long a quick run may go on, whatever the machine and the model: every load has a share of a limited time, and does
 * without turns, and without requests of a turn, that do not fit. A turn is of all that is compared, so none has more.
 */
import { numberOf, type Row } from "../report/table.ts";

/** For all cells of what is compared. At 46 requests/s all turns of the policies took 554 s. */
export const CELLS_S_MAX = 800;
/** Requests of a cell are due within so long. */
export const CELL_S_MAX = 15;
/** However slow: fewer have no median. */
const CELL_REQUESTS_MIN = 8;
/** Of a load's time, for the turns in which what is not compared takes part. */
const OTHERS_SHARE_MAX = 0.2;

/** Turns of a load in the whole run. */
export interface LoadTurns {
  /** Multiple of the capacity. */
  readonly rate: number;
  readonly requests: number;
  readonly turns: number;
}

/** Seconds that each load may take: as the turns' times are to each other, of a server where `waitingMax` may wait. */
export function timeLimitsS(loads: readonly LoadTurns[], waitingMax: number): number[] {
  // In requests at the capacity: until the last is due, and beyond it until those that wait are answered.
  const times = loads.map(({ rate, requests, turns }) =>
    turns * (requests / rate + (rate > 1 ? waitingMax : 0))
  );
  const all = times.reduce((sum, time) => sum + time, 0);
  return times.map((time) => CELLS_S_MAX * time / all);
}

/** What the turns of a load took so far. */
export interface Spent {
  readonly turns: number;
  readonly seconds: number;
}

/** Of the rows of a load, attempts that were measured again included. */
export function spentOn(rows: readonly Row[]): Spent {
  return {
    turns: new Set(rows.map(({ round }) => round)).size,
    seconds: rows.reduce((sum, row) => sum + numberOf(row, "seconds") * numberOf(row, "tries"), 0),
  };
}

/** Whether a load has another turn in a round: its time is spread over the rounds, and the first turn is free. */
export function hasTurn({ turns, seconds }: Spent, limitS: number, round: number, rounds: number): boolean {
  return turns === 0 || seconds * (turns + 1) / turns <= limitS * round / rounds;
}

/**
 * Whether what is not compared takes part in a load's next turn, `times` as many sides as are compared: in `ofTurns` turns, from
 * the second one on if a first one must say how long it takes.
 */
export function hasOthers(
  { turns, seconds }: Spent,
  limitS: number,
  { times, ofTurns, allTurns }: {
    readonly times: number;
    readonly ofTurns: number;
    readonly allTurns: number;
  },
): boolean {
  const first = limitS === Infinity || allTurns === 1 ? 0 : 1;
  if (turns < first || turns >= first + ofTurns) return false;
  return first === 0 || seconds / turns * times * ofTurns <= OTHERS_SHARE_MAX * limitS;
}

/** Requests of a cell at a capacity of `perSecond`: `most`, or as many as are due in time. */
export function requestsOfCell(most: number, rate: number, perSecond: number): number {
  const inTime = Math.floor(CELL_S_MAX * rate * perSecond);
  return Math.min(most, Math.max(CELL_REQUESTS_MIN, inTime));
}
