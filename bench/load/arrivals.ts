/** When requests are due: milliseconds from the start of the run, ascending. */
import type { Draws } from "../draws.ts";

/**
 * - constant: evenly spaced.
 * - gamma: gaps of mean 1/rate whose squared coefficient of variation is 1/burstiness; 1 is Poisson, below it bursts.
 * - ramp: Poisson whose rate moves in a straight line, over the requests' number, from `rate` to `rateTo`.
 */
export type Arrivals =
  | { readonly kind: "constant"; readonly perSecond: number }
  | { readonly kind: "gamma"; readonly perSecond: number; readonly burstiness: number }
  | { readonly kind: "ramp"; readonly perSecond: number; readonly perSecondTo: number };

export function poisson(perSecond: number): Arrivals {
  return { kind: "gamma", perSecond, burstiness: 1 };
}

/** Milliseconds between request `index` − 1 and request `index`. */
function gapMs(arrivals: Arrivals, draws: Draws, index: number, count: number): number {
  const meanMs = 1000 / arrivals.perSecond;
  switch (arrivals.kind) {
    case "constant":
      return meanMs;
    case "gamma":
      return meanMs * draws.gamma(arrivals.burstiness) / arrivals.burstiness;
    case "ramp": {
      const share = count <= 1 ? 0 : index / (count - 1);
      return 1000 * draws.exponential() /
        (arrivals.perSecond + share * (arrivals.perSecondTo - arrivals.perSecond));
    }
  }
}

/** The first request is due at 0. */
export function arrivalTimesMs(arrivals: Arrivals, draws: Draws, count: number): Float64Array {
  const times = new Float64Array(count);
  for (let i = 1; i < count; i++) times[i] = times[i - 1] + gapMs(arrivals, draws, i, count);
  return times;
}
