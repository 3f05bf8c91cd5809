/** One run as a few lines to read on a terminal. */
import type { Figures, Spread } from "../load/figures.ts";
import { markdownTable, number, plain } from "./markdown.ts";
import type { Row } from "./table.ts";

function spreadRow(measure: string, { p50, p90, p95, p99, mean, max }: Spread): Row {
  return { measure, mean, p50, p90, p95, p99, max };
}

export function runPage(label: string, figures: Figures): string {
  const { codes, stages } = figures;
  const trouble = Object.entries(codes).map(([code, count]) => `${count}× ${code}`).join(", ");
  const right = figures.scored === 0
    ? ""
    : `, ${(100 * figures.right).toFixed(1)} % of ${figures.scored} right`;
  const offered = Number.isNaN(figures.offeredPerSecond)
    ? ""
    : `offered ${figures.offeredPerSecond.toFixed(1)}, `;
  return [
    "",
    `## ${label}`,
    "",
    `${figures.answered} of ${figures.requests} answered in ${
      figures.seconds.toFixed(1)
    } s, ${figures.refused} refused, ` +
    `${figures.errors} errors${trouble === "" ? "" : ` (${trouble})`}${
      figures.abandoned === 0 ? "" : `, ${figures.abandoned} given up`
    }${right}`,
    `requests/s: ${offered}answered ${figures.requestsPerSecond.toFixed(1)}, goodput ${
      figures.goodputPerSecond.toFixed(1)
    }; tokens/s: ${figures.outputTokensPerSecond.toFixed(0)} out, ${
      figures.totalTokensPerSecond.toFixed(0)
    } in all; at most ${figures.inFlightMax} in flight`,
    "",
    markdownTable([
      spreadRow("TTFT", figures.ttftMs),
      spreadRow("TTFT as the paper has it", figures.ttftPaperMs),
      spreadRow("TPOT", figures.tpotMs),
      spreadRow("ITL", figures.itlMs),
      spreadRow("end to end", figures.endToEndMs),
      spreadRow("normalised, per token", figures.normalisedMs),
      spreadRow("sent too late", figures.latenessMs),
    ], [
      plain("ms", "measure"),
      ...["mean", "p50", "p90", "p95", "p99", "max"].map((name) => number(name, name)),
    ]),
    ...(stages.size === 0 ? [] : [
      "",
      markdownTable(
        [...stages].map(([stage, { waitMs, runMs }]) => ({ stage, waitMs, runMs })),
        [plain("stage", "stage"), number("waiting, mean ms", "waitMs"), number("working, mean ms", "runMs")],
      ),
    ]),
  ].join("\n");
}
