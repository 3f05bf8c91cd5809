import assert from "node:assert/strict";
import { Draws } from "../../../bench/draws.ts";
import { type Arrivals, arrivalTimesMs, poisson } from "../../../bench/load/arrivals.ts";

const COUNT = 20_000;

function gaps(arrivals: Arrivals, seed = "1", count = COUNT): number[] {
  const times = arrivalTimesMs(arrivals, new Draws(seed), count);
  return Array.from(times.subarray(1), (time, i) => time - times[i]);
}

function moments(values: readonly number[]): { mean: number; variation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, variation: square / mean ** 2 };
}

function near(found: number, expected: number, share: number): void {
  assert.ok(Math.abs(found / expected - 1) < share, `${found} is not near ${expected}`);
}

Deno.test("arrivalTimesMs begins at 0 and spaces constant arrivals evenly", () => {
  assert.deepEqual([...arrivalTimesMs({ kind: "constant", perSecond: 4 }, new Draws("x"), 4)], [
    0,
    250,
    500,
    750,
  ]);
});

Deno.test("Poisson gaps have the rate's mean and a squared variation of 1", () => {
  const { mean, variation } = moments(gaps(poisson(50)));
  near(mean, 20, 0.03);
  near(variation, 1, 0.06);
});

for (const burstiness of [0.25, 4]) {
  Deno.test(`gamma gaps of burstiness ${burstiness} keep the mean and vary by its reciprocal`, () => {
    const { mean, variation } = moments(gaps({ kind: "gamma", perSecond: 50, burstiness }));
    near(mean, 20, 0.05);
    near(variation, 1 / burstiness, 0.1);
  });
}

Deno.test("a ramp's gaps follow its rate from the first to the last", () => {
  const all = gaps({ kind: "ramp", perSecond: 10, perSecondTo: 100 });
  near(moments(all.slice(0, 1000)).mean, 1000 / (10 + 90 * 500 / COUNT), 0.1);
  near(moments(all.slice(-1000)).mean, 1000 / (100 - 90 * 500 / COUNT), 0.1);
});

Deno.test("the same seed gives the same arrivals, another seed others, another rate the same ones scaled", () => {
  const times = (seed: string, rate: number) => [...arrivalTimesMs(poisson(rate), new Draws(seed), 50)];
  assert.deepEqual(times("a", 5), times("a", 5));
  assert.notDeepEqual(times("a", 5), times("b", 5));
  const [slow, fast] = [times("a", 5), times("a", 10)];
  slow.forEach((time, i) => assert.ok(Math.abs(time / 2 - fast[i]) < 1e-6));
});
