/** One measurement: bodies made, the server warmed up, the run, and what the server itself counted meanwhile. */
import { systemClock } from "../../lib/core/clock.ts";
import { Progress } from "../progress.ts";
import type { Served } from "../servers.ts";
import { difference, type Samples, scrape } from "./exposition.ts";
import { type Figures, figuresOf, type Targets } from "./figures.ts";
import { encodeRequest, type LoadRequest } from "./request.ts";
import { type Loop, type Run, runLoad } from "./run.ts";

/** Clients of the warm-up: enough that batches of several sizes have run. */
const WARM_UP_CLIENTS = 4;

export interface MeasureOptions {
  readonly label: string;
  readonly loop: Loop;
  /** Answered before the run and not counted. */
  readonly warmUp: readonly LoadRequest[];
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  readonly targets: Targets;
  readonly stop: AbortSignal;
}

export interface Measured {
  readonly figures: Figures;
  readonly run: Run;
  /** What the server's counters added during the run; null where it has none. */
  readonly counted: Samples | null;
}

export async function measure(
  { client, dialect }: Served,
  requests: readonly LoadRequest[],
  { label, loop, warmUp, targets, ...limits }: MeasureOptions,
): Promise<Measured> {
  const bodies = requests.map((request) => encodeRequest(request, dialect));
  const first = warmUp.map((request) => encodeRequest(request, dialect));
  const quiet = { ...limits, watch: () => {} };
  await runLoad(client, first, { ...quiet, loop: { kind: "closed", clients: WARM_UP_CLIENTS } }, systemClock);
  const before = await scrape(client.target.url);
  const progress = new Progress(label, bodies.length, () => systemClock.now());
  const startMs = systemClock.now();
  const run = await runLoad(client, bodies, {
    ...limits,
    loop,
    watch: (sent) => progress.watch(sent, startMs),
  }, systemClock);
  progress.end();
  const after = before === null ? null : await scrape(client.target.url);
  return {
    figures: figuresOf(run, requests, loop.kind, targets),
    run,
    counted: before === null || after === null ? null : difference(before, after),
  };
}
