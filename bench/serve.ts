/**
 * `deno task bench`: first figures of the whole server on this machine, over HTTP and in another process: time from
 * process start to the listening line, then TTFT, time per token and tokens per second alone and with 16 requests in flight.
 * `--csv FILE` appends one line a workload. Arguments after `--` go to `start`.
 */
import { parseArgs } from "node:util";
import { systemClock } from "../lib/core/clock.ts";
import { type Sample, streamOnce } from "./client.ts";
import { startProcess } from "../tests/support/process.ts";
import { percentile } from "./percentile.ts";

/** Tokens of every completion: generation goes on past the end of the answer so that all are equally long. */
const COMPLETION_TOKENS = 64;
const WORKLOADS = [
  { name: "alone", concurrency: 1, requests: 12 },
  { name: "16 concurrent", concurrency: 16, requests: 64 },
] as const;

interface Figures {
  readonly name: string;
  readonly requests: number;
  readonly ttft50: number;
  readonly ttft95: number;
  readonly tpot50: number;
  readonly tokensPerSecond: number;
}

async function measure(url: string, workload: typeof WORKLOADS[number]): Promise<Figures> {
  const samples: Sample[] = [];
  let left: number = workload.requests;
  const begun = systemClock.now();
  const client = async () => {
    while (left-- > 0) samples.push(await streamOnce(url, samples.length, COMPLETION_TOKENS));
  };
  await Promise.all(Array.from({ length: workload.concurrency }, client));
  const seconds = (systemClock.now() - begun) / 1000;
  const ttft = samples.map((sample) => sample.ttftMs);
  const tpot = samples.map((sample) => (sample.totalMs - sample.ttftMs) / (sample.tokens - 1));
  return {
    name: workload.name,
    requests: samples.length,
    ttft50: percentile(ttft, 0.5),
    ttft95: percentile(ttft, 0.95),
    tpot50: percentile(tpot, 0.5),
    tokensPerSecond: samples.reduce((sum, sample) => sum + sample.tokens, 0) / seconds,
  };
}

const { values, positionals } = parseArgs({
  args: Deno.args,
  options: { csv: { type: "string" } },
  allowPositionals: true,
});
const server = await startProcess(positionals);
try {
  console.log(server.banner.join("\n"));
  console.log(`listening ${server.startMs.toFixed(0)} ms after the process was started`);
  // Kernels are compiled and caches filled by a first round, which is not counted.
  for (let index = 0; index < 2; index++) await streamOnce(server.url, index, COMPLETION_TOKENS);
  console.log("| workload | requests | TTFT p50 ms | TTFT p95 ms | TPOT p50 ms | tokens/s |");
  console.log("| --- | --- | --- | --- | --- | --- |");
  for (const workload of WORKLOADS) {
    const figures = await measure(server.url, workload);
    const cells = [figures.ttft50, figures.ttft95, figures.tpot50, figures.tokensPerSecond].map((x) =>
      x.toFixed(1)
    );
    console.log(`| ${[figures.name, figures.requests, ...cells].join(" | ")} |`);
    if (values.csv !== undefined) {
      const line = [new Date().toISOString(), figures.name, figures.requests, ...cells].join(",");
      await Deno.writeTextFile(values.csv, `${line}\n`, { append: true });
    }
  }
} finally {
  await server.stop();
}
