/**
 * `deno task bench`: loads one server, this project's or any other OpenAI-compatible one, and prints what its clients see.
 * Without flags: first figures of the default server, one client and sixteen. See HELP.
 */
import { parseArgs } from "node:util";
import { timestamp } from "../lib/core/clock.ts";
import { Draws } from "./draws.ts";
import { type Arrivals, arrivalTimesMs, poisson } from "./load/arrivals.ts";
import { countedColumns, figureColumns } from "./load/columns.ts";
import { measure } from "./load/measure.ts";
import type { LoadRequest } from "./load/request.ts";
import type { Loop } from "./load/run.ts";
import { formatTrace, parseTrace } from "./load/trace.ts";
import { commitName, machineName } from "./machine.ts";
import {
  listOrNull,
  LOAD_HELP,
  LOAD_OPTIONS,
  positiveOf,
  targetsOf,
  wholeOf,
  workloadOf,
} from "./options.ts";
import { runPage } from "./report/run_page.ts";
import { formatCsv, type Row } from "./report/table.ts";
import { startOwn, useRunning } from "./servers.ts";
import { stopOnInterrupt } from "./stop.ts";
import { WORKLOADS } from "./workloads/mod.ts";

const HELP = `deno task bench [flags] [-- flags of the server that is started]

  --url URL              a running server instead of one that is started
  --api-key KEY          for it
  --timings              asks it for stage times (a server of this project; one that is started is always asked)
  --clients LIST         closed loops with so many clients, one after the other (1,16)
  --rate R               open loop, R requests a second, instead
  --arrivals KIND        constant, poisson, gamma:BURSTINESS or ramp:RATE_AT_THE_END (poisson)
  --trace FILE           open loop from lines of {"at_ms": …, "request": {"messages": […]}}
  --write-trace FILE     writes what --rate would send, and ends
  --warm-up N            requests before that are not counted (12)
  --csv FILE             writes every figure
${LOAD_HELP}`;

const { values, positionals } = parseArgs({
  options: {
    ...LOAD_OPTIONS,
    url: { type: "string" },
    "api-key": { type: "string" },
    timings: { type: "boolean", default: false },
    clients: { type: "string" },
    rate: { type: "string" },
    arrivals: { type: "string", default: "poisson" },
    trace: { type: "string" },
    "write-trace": { type: "string" },
    "warm-up": { type: "string", default: "12" },
    csv: { type: "string" },
    help: { type: "boolean", default: false },
  },
  allowPositionals: true,
});

function arrivalsOf(text: string, perSecond: number): Arrivals {
  const [kind, number] = text.split(":");
  switch (kind) {
    case "constant":
      return { kind, perSecond };
    case "poisson":
      return poisson(perSecond);
    case "gamma":
      return { kind, perSecond, burstiness: positiveOf(number ?? "", "arrivals") };
    case "ramp":
      return { kind, perSecond, perSecondTo: positiveOf(number ?? "", "arrivals") };
    default:
      throw new Error(
        `--arrivals: expected constant, poisson, gamma:BURSTINESS or ramp:RATE, got "${text}"`,
      );
  }
}

interface Planned {
  readonly label: string;
  readonly requests: readonly LoadRequest[];
  readonly loop: Loop;
}

const workload = workloadOf(values.workload ?? "gqa-vqa");

function make(name: string, count: number): Promise<LoadRequest[]> {
  return WORKLOADS[workload]({
    count,
    draws: new Draws(`${values.seed} ${name}`),
    fresh: values.fresh,
    outputTokens: values["output-tokens"] === undefined
      ? null
      : wholeOf(values["output-tokens"], "output-tokens"),
    data: values.data ?? null,
    contextTokens: wholeOf(values["context-tokens"], "context-tokens"),
    imageTokens: wholeOf(values["image-tokens"], "image-tokens"),
  });
}

async function plan(): Promise<Planned[]> {
  if (values.trace !== undefined) {
    const { requests, timesMs } = parseTrace(Deno.readTextFileSync(values.trace));
    return [{ label: `trace ${values.trace}`, requests, loop: { kind: "open", timesMs } }];
  }
  const count = wholeOf(values.requests ?? "100", "requests");
  if (values.rate !== undefined) {
    const arrivals = arrivalsOf(values.arrivals, positiveOf(values.rate, "rate"));
    const timesMs = arrivalTimesMs(arrivals, new Draws(`${values.seed} arrivals`), count);
    const label = `${values.rate} requests/s, ${values.arrivals}`;
    return [{ label, requests: await make("requests", count), loop: { kind: "open", timesMs } }];
  }
  const planned: Planned[] = [];
  for (const clients of listOrNull(values.clients ?? "1,16", "clients", wholeOf)!) {
    const requests = await make(`requests of ${clients}`, count);
    planned.push({
      label: clients === 1 ? "1 client" : `${clients} clients`,
      requests,
      loop: { kind: "closed", clients },
    });
  }
  return planned;
}

async function main(): Promise<void> {
  const stop = stopOnInterrupt((line) => console.error(line));
  const planned = await plan();
  const outfile = values["write-trace"];
  if (outfile !== undefined) {
    const [{ requests, loop }] = planned;
    if (loop.kind !== "open") throw new Error("--write-trace needs --rate");
    Deno.writeTextFileSync(outfile, formatTrace({ requests, timesMs: loop.timesMs }));
    return;
  }
  await using served = values.url === undefined
    ? await startOwn("fastcache", positionals)
    : await useRunning("server", values.url, values["api-key"] ?? null, values.timings);
  if (served.banner.length > 0) {
    console.log(served.banner.join("\n"));
    console.log(`listening ${served.startMs.toFixed(0)} ms after the process was started`);
  }
  const warmUp = await make("warm-up", wholeOf(values["warm-up"], "warm-up"));
  const rows: Row[] = [];
  for (const { label, requests, loop } of planned) {
    if (stop.aborted) break;
    const { figures, counted } = await measure(served, requests, {
      label,
      loop,
      warmUp,
      connectionsMax: wholeOf(values.connections, "connections"),
      timeoutMs: 1000 * positiveOf(values.timeout, "timeout"),
      targets: targetsOf(values.goodput),
      stop,
    });
    console.log(runPage(label, figures));
    rows.push({
      run: label,
      begun: timestamp(),
      commit: commitName(),
      machine: machineName(),
      workload,
      seed: values.seed,
      ...figureColumns(figures),
      ...countedColumns(counted, figures),
    });
  }
  if (values.csv !== undefined) Deno.writeTextFileSync(values.csv, formatCsv(rows));
}

if (values.help) console.log(HELP);
else await main();
