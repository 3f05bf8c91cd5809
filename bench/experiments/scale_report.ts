/** The page of the experiment in virtual time: tables, what the stage times allow, and how near the cost model came. */
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { compare } from "../scale/calibrate.ts";
import { DEVICES } from "../scale/costs.ts";
import { COMPLETION_TOKENS, LENGTHS, TEXT_TOKENS } from "../scale/paper_load.ts";
import type { Report } from "./experiment.ts";
import { COMPRESS_DEFAULT } from "./policies.ts";

/** "Up to", against p1c1d8. */
const PAPER_THROUGHPUT = 12.1;

function ratios(rows: readonly Row[], throughput: boolean): string[] {
  const rates = [...new Set(rows.map((row) => numberOf(row, "rate_per_s")))];
  return rates.flatMap((rate) => {
    const of = (policy: string) => rows.find((row) => row.policy === policy && row.rate_per_s === rate);
    const [ours, theirs] = [of("dynamic"), of("p1c1d8")];
    if (ours === undefined || theirs === undefined) return [];
    const ratio = (a: Row, b: Row, name: string) => (numberOf(a, name) / numberOf(b, name)).toFixed(1);
    return [
      `- ${rate} req/s: TTFT p50 ${ratio(theirs, ours, "ttft_p50_ms")}x and p99 ${
        ratio(theirs, ours, "ttft_p99_ms")
      }x lower than p1c1d8, ${
        throughput ? `throughput ${ratio(ours, theirs, "steady_per_s")}x, ` : ""
      }the paper's TTFT (p50) ${ratio(theirs, ours, "ttft_paper_p50_ms")}x lower`,
    ];
  });
}

/** Why the ratio of throughputs ends where it does. */
function boundLines(rows: readonly Row[]): string[] {
  const of = (policy: string) => rows.find((row) => row.policy === policy && row.bound_per_s !== undefined);
  const [ours, theirs] = [of("dynamic"), of("p1c1d8")];
  if (ours === undefined || theirs === undefined) return [];
  const ms = (row: Row, stage: string) => numberOf(row, `bound_${stage}_ms`);
  const parts = (row: Row) =>
    `${ms(row, "encode").toFixed(1)} + ${ms(row, "prefill").toFixed(1)} + ${
      ms(row, "compress").toFixed(1)
    } + ` +
    `${ms(row, "decode").toFixed(1)} ms of encode, prefill, compress and decode (${
      numberOf(row, "bound_decode_steps").toFixed(0)
    } steps of ${numberOf(row, "bound_decode_batch")}): ${
      numberOf(row, "bound_per_s").toFixed(1)
    } requests/s`;
  const bound = numberOf(ours, "bound_per_s") / numberOf(theirs, "bound_per_s");
  const once = ["encode", "prefill", "compress"].reduce((sum, stage) => sum + ms(ours, stage), 0);
  const free = 1000 / once / numberOf(theirs, "bound_per_s");
  const [ourBounds, theirBounds] = [ours, theirs].map((row) =>
    String(row.bounds_per_s).split(" ").map(Number)
  );
  const byLength = ourBounds.map((value, i) => value / theirBounds[i]);
  const best = byLength.indexOf(Math.max(...byLength));
  return [
    "What the stage times allow, of a device that never waits and batches that are always full, device time a request:",
    "",
    `- dynamic: ${parts(ours)};`,
    `- p1c1d8: ${parts(theirs)}, since a batch of 8 goes on until its longest member has ended.`,
    "",
    `So no schedule of these costs answers more than ${
      bound.toFixed(1)
    } times as much as p1c1d8, and where less than ` +
    "that is offered the ratio is the offered rate by p1c1d8's. Batches divide what decode costs and not the arithmetic of " +
    `prompts: were decode free, ${free.toFixed(1)} times would be the end. Of completions ${
      LENGTHS.join(", ")
    } times as ` +
    `long those of ${LENGTHS[best]} give most, ${
      byLength[best].toFixed(1)
    } times. The paper's ${PAPER_THROUGHPUT}x is beyond ` +
    "what these costs allow to any schedule; what its baseline spends on a request is not public.",
  ];
}

export function report(rows: readonly Row[]): Report {
  const devices = rows.filter(({ part }) => part === "device").map((row): Row => ({
    ...row,
    normalised_s: numberOf(row, "normalised_p50_ms") / 1000,
    of_bound: numberOf(row, "steady_per_s") /
      Math.min(numberOf(row, "bound_per_s"), numberOf(row, "offered_per_s")),
  }));
  const h100 = devices.filter(({ device }) => device === DEVICES.h100.name);
  return {
    text: [
      "Virtual time: the production scheduler and pool, LLaVA-1.5-7B in f16, steps by the device's published peaks " +
      "(half of the arithmetic, 0.7 of the bandwidth, 2 ms a step). " +
      `${TEXT_TOKENS} text tokens and one picture of 576 a prompt, ${COMPLETION_TOKENS.least} to ${COMPLETION_TOKENS.most} ` +
      `tokens generated, ${COMPRESS_DEFAULT}, Poisson arrivals, queues without end. Answered: a second between the first ` +
      "fifth of the answers and the last, so that neither filling nor emptying the server counts. The bound is the " +
      "smaller of the offered rate and what the policy's largest batches would answer on a device that never waits.",
      "",
      markdownTable(devices, [
        plain("device", "device"),
        plain("req/s offered", "rate_per_s"),
        plain("policy", "policy"),
        number("req/s answered", "steady_per_s", 2),
        percent("of the bound", "of_bound"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
        number("paper's TTFT p50 ms", "ttft_paper_p50_ms", 0),
        number("TPOT p50 ms", "tpot_p50_ms"),
        number("normalised p50 s/token", "normalised_s", 3),
      ]),
      "",
      `${DEVICES.h100.name}:`,
      "",
      ...ratios(h100, true),
      "",
      "Where a policy cannot keep up, its queue and so its TTFT grow as long as requests come: the ratio says how long the run " +
      "was. In runs of 90 requests, as the paper's are:",
      "",
      ...ratios(rows.filter(({ part }) => part === "short"), false),
      "",
      ...boundLines(h100),
      "",
      `The paper, same model and device: TTFT up to 19.3x lower (10 req/s) and throughput up to ${PAPER_THROUGHPUT}x of p1c1d8; ` +
      "normalised latency at 40 req/s 0.17 s (its own), 0.46 s (p3c3d6), 0.33 s (p4c4d8).",
      "",
      "Replicas behind a consistent hash of the picture, five questions a picture with answers of 2 to 16 tokens:",
      "",
      markdownTable(rows.filter(({ part }) => part === "replicas"), [
        plain("replicas", "replicas"),
        plain("requests", "requests"),
        number("req/s offered", "offered_per_s"),
        number("req/s answered", "steady_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
      ]),
      "",
      "The cost model against this machine, in one run: closed loops of 1 to 16 clients say what steps cost and what a request " +
      "takes outside of them, and open loads in pieces between the loops are measured and predicted. Here TTFT and end to end count from the sending of a " +
      "request, on all other pages from when it was due:",
      "",
      markdownTable(compare(rows), [
        number("load, of capacity", "load", 2),
        number("req/s", "rate_per_s"),
        number("measured TTFT mean ms", "measured_ttft_ms"),
        number("predicted", "predicted_ttft_ms"),
        percent("off by", "ttft_off"),
        number("of it in encode and prefill, measured", "measured_stages_ms"),
        number("predicted", "predicted_stages_ms"),
        number("measured end to end mean ms", "measured_end_ms"),
        number("predicted", "predicted_end_ms"),
        percent("off by", "end_off"),
        percent("machine slower after than before by", "pace_change"),
      ]),
    ].join("\n"),
    plots: [{
      name: "scale-h100",
      spec: linePlot({
        name: "scale-h100",
        title: `LLaVA-1.5-7B on ${DEVICES.h100.name}, virtual time`,
        rows: h100,
        x: { field: "rate_per_s", title: "offered requests/s", log: true },
        y: [
          { field: "ttft_p50_ms", title: "TTFT p50, ms", log: true },
          { field: "steady_per_s", title: "answered requests/s" },
          { field: "ttft_p99_ms", title: "TTFT p99, ms", log: true },
          { field: "normalised_s", title: "normalised p50, s/token", log: true },
        ],
        series: { field: "policy", title: "policy" },
      }),
    }],
  };
}
