/** Many servers behind a consistent hash of the picture: each sees its own part of the load and nothing of the others. */
import type { Sent } from "../load/run.ts";
import { type Simulated, simulateLoad, type VirtualRequest, type World } from "./simulate.ts";

/** Points of each replica on the ring: enough that parts differ by a few per cent. */
const POINTS = 128;

/** SplitMix32's finaliser. */
function hash(value: number): number {
  let z = (value + 0x9e3779b9) >>> 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}

/** The replica of each key: the one whose point follows the key's on the ring. */
export function ringOf(replicas: number): (key: number) => number {
  const points = Array.from({ length: replicas * POINTS }, (_, i) => ({
    at: hash(hash(i) ^ 0x5bd1e995),
    // A replica's points are its own however many there are beside it.
    replica: Math.floor(i / POINTS),
  })).sort((a, b) => a.at - b.at);
  return (key) => {
    const at = hash(key);
    let low = 0, high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle].at < at) low = middle + 1;
      else high = middle;
    }
    return points[low % points.length].replica;
  };
}

/** One after the other; `stop` ends it between two, with what has been answered. */
export async function simulateReplicas(
  world: World,
  requests: readonly VirtualRequest[],
  replicas: number,
  stop: AbortSignal,
): Promise<Simulated> {
  const replicaOf = ringOf(replicas);
  const parts = Map.groupBy(
    requests.map((request, index) => ({ request, index })),
    ({ request }) => replicaOf(request.picture),
  );
  const sent: Sent[] = [];
  let busyMs = 0, inFlightMax = 0;
  for (const part of parts.values()) {
    if (stop.aborted) break;
    const simulated = await simulateLoad(world, part.map(({ request }) => request));
    // Back to the numbers of the whole load.
    for (const one of simulated.run.sent) sent.push({ ...one, index: part[one.index].index });
    busyMs += simulated.busyMs;
    inFlightMax += simulated.run.inFlightMax;
  }
  return { run: { sent, startMs: 0, inFlightMax }, busyMs };
}
