/**
 * This server and others, the same questions in a closed loop, rounds alternating between them: repeated pictures (several
 * questions a picture) and fresh ones (a pixel of each differs, so that no cache helps).
 */
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { medians } from "../report/medians.ts";
import { barPlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { markNotes, ttftTail } from "../report/tail.ts";
import { openPeer, type Served, startOwn } from "../servers.ts";
import { STAGES } from "../load/columns.ts";
import type { Bench, Experiment, Report } from "./experiment.ts";
import { compressFlags } from "./policies.ts";

const FULL = { clients: [1, 8, 16, 32], requests: 200, rounds: 3 };
const QUICK = { clients: [1, 16], requests: 100, rounds: 2 };
/** One client is slow and its figures are steady: so many times fewer requests. */
const ALONE_FEWER = 2;
const OWN = "fastcache";
const PICTURES = ["repeated", "fresh"] as const;

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const size = options.quick ? QUICK : FULL;
  const workload = options.workload ?? "gqa-vqa";
  await using servers = new AsyncDisposableStack();
  const peers: Served[] = [];
  const open = async (starting: Promise<Served>) => void peers.push(servers.use(await starting));
  await open(startOwn(OWN, [...compressFlags(options.compress ?? "none"), ...options.serverFlags]));
  for (const peer of options.peers) await open(openPeer(peer));
  for (let round = 1; round <= (options.rounds ?? size.rounds); round++) {
    for (const pictures of PICTURES) {
      for (const clients of options.clients ?? size.clients) {
        const count = Math.ceil((options.requests ?? size.requests) / (clients === 1 ? ALONE_FEWER : 1));
        const name = `${pictures}/${clients} clients/round ${round}`;
        const requests = await bench.requests(name, workload, count, pictures === "fresh");
        const warmUp = await bench.requests(`warm-up ${name}`, workload, 2 * clients, pictures === "fresh");
        // Every other round begins with another server.
        for (let i = 0; i < peers.length; i++) {
          const served = peers[(round + i) % peers.length];
          const columns = { server: served.name, pictures, clients, round, workload };
          await bench.cell(
            `${name}/${served.name}`,
            columns,
            async () =>
              await bench.load(`${served.name} ${name}`, served, requests, warmUp, {
                kind: "closed",
                clients,
              }),
          );
        }
      }
    }
  }
}

function byServer(rows: readonly Row[]): Row[] {
  return medians(rows, ["pictures", "clients", "server"])
    .sort((a, b) =>
      PICTURES.indexOf(a.pictures as "fresh") - PICTURES.indexOf(b.pictures as "fresh") ||
      numberOf(a, "clients") - numberOf(b, "clients")
    );
}

/** "1.5 + 3.0": waiting and working; "–" for a stage that no request visited. */
function stageTime(row: Row, stage: string): string {
  const [wait, run] = [numberOf(row, `${stage}_wait_ms`), numberOf(row, `${stage}_run_ms`)];
  return Number.isNaN(wait) ? "–" : `${wait.toFixed(1)} + ${run.toFixed(1)}`;
}

function report(all: readonly Row[]): Report {
  const rows = byServer(all).map((row): Row => ({
    ...row,
    ratio: row.server === OWN ? NaN : against(all, row, "requests_per_s")[0]?.value ?? NaN,
  }));
  const own = rows.filter(({ server }) => server === OWN);
  return {
    text: [
      `Closed loop, streamed, a connection a request, \`${all[0]?.workload}\`; medians of ${
        rows[0]?.rounds ?? 0
      } rounds.`,
      "",
      markdownTable(rows, [
        plain("pictures", "pictures"),
        plain("clients", "clients"),
        plain("server", "server"),
        number("requests/s", "requests_per_s"),
        number(`${OWN} against it`, "ratio", 2),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        ttftTail("TTFT p99 ms"),
        number("TPOT p50 ms", "tpot_p50_ms", 1),
        percent("right", "right"),
        plain("errors", "errors"),
      ]),
      ...markNotes(rows),
      "",
      `The columns are medians, "${OWN} against it" is not of them but of the rounds' ratios. ${RATIOS_TEXT}`,
      "",
      ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
      "",
      `Where a request of ${OWN} spent its time, mean milliseconds waiting + working by its own clock:`,
      "",
      markdownTable(own, [
        plain("pictures", "pictures"),
        plain("clients", "clients"),
        ...STAGES.map((stage) => ({ heading: stage, text: (row: Row) => stageTime(row, stage) })),
      ]),
    ].join("\n"),
    plots: PICTURES.map((pictures) => ({
      name: `peers-${pictures}`,
      spec: barPlot({
        name: `peers-${pictures}`,
        title: `${pictures} pictures, closed loop`,
        rows: rows.filter((row) => row.pictures === pictures),
        group: { field: "clients", title: "clients" },
        y: [
          { field: "requests_per_s", title: "requests/s" },
          { field: "ttft_p50_ms", title: "TTFT p50, ms" },
        ],
        series: { field: "server", title: "server" },
      }),
    })),
  };
}

/** This server's values of a column by those of the server that `row` is about. */
function against(all: readonly Row[], { server, pictures, clients }: Row, column: string): Ratio[] {
  const of = (name: string | number) =>
    all.filter((row) => row.server === name && row.pictures === pictures && row.clients === clients);
  const what = column === "requests_per_s" ? "requests/s" : "TTFT p50";
  return pairedRatio(
    `${what}, ${OWN} against ${server}, ${pictures}, ${clients} clients`,
    of(OWN),
    of(server),
    column,
  );
}

function ratios(all: readonly Row[]): Ratio[] {
  return byServer(all).filter(({ server }) => server !== OWN).flatMap((row) => [
    ...against(all, row, "requests_per_s"),
    ...against(all, row, "ttft_p50_ms"),
  ]);
}

export const peers: Experiment = {
  name: "peers",
  summary: "this server beside others (--peer NAME=URL or NAME=COMMAND), the same questions in turn",
  run,
  report,
  ratios,
};
