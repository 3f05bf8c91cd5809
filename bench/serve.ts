/**
 * `deno task bench:serve --exp NAME`: an experiment over whole servers. It starts and stops them, writes a row of CSV a
 * measurement, and at the end a page with tables and plots under `bench/results/<machine>/<date>`. See HELP.
 */
import { parseArgs } from "node:util";
import { systemClock, timestamp } from "../lib/core/clock.ts";
import { Bench, type BenchOptions, type Experiment } from "./experiments/experiment.ts";
import { EXPERIMENTS } from "./experiments/mod.ts";
import { commitName, machineName } from "./machine.ts";
import { ChainPace } from "./pace.ts";
import {
  listOrNull,
  LOAD_HELP,
  LOAD_OPTIONS,
  positiveOf,
  targetsOf,
  wholeOf,
  wholeOrNull,
  workloadOf,
} from "./options.ts";
import { writePlots } from "./report/plots.ts";
import { agreementText } from "./report/agreement.ts";
import { ResultTable, type Row } from "./report/table.ts";
import { stopOnInterrupt } from "./stop.ts";

const HELP = `deno task bench:serve --exp NAME [flags] [-- flags of every server that is started]

experiments (--exp is repeatable; all: every one of them, in this order):
${EXPERIMENTS.map(({ name, summary }) => `  ${name.padEnd(22)} ${summary}`).join("\n")}

  --quick                fewer requests, loads and rounds, and of a slow server fewer turns and rounds still: what policies
                         compares has 13 minutes, each pair of methods and ablation one
  --repeat               measures what has ratios twice, the second time into DIR/again, and says how they agree
  --resume               goes on in the newest results of this machine: what is there is not measured again
  --budget SECONDS       begins no measurement after so long; --resume goes on
  --out DIR              instead of bench/results/<machine>/<date>
  --machine NAME         instead of the processor's name
  --kv-compress M:R      compression of every server that is started; none if left out, keydiff:0.8 in policies
  --methods LIST         methods, quality: compression methods (streaming,snapkv,knorm,expected-attention,learned)
  --peer NAME=WHERE      peers: a URL, or a command whose server takes its port from {port}; repeatable
  --clients LIST         peers: clients of the closed loops
  --rates LIST           policies: multiples of the capacity
  --rounds N             all but quality and scale: how often all is measured (policies with --quick: a round of several
                         turns of a load, numbered in the table's column "round")
${LOAD_HELP}`;

const { values, positionals } = parseArgs({
  options: {
    ...LOAD_OPTIONS,
    exp: { type: "string", multiple: true, default: [] },
    quick: { type: "boolean", default: false },
    repeat: { type: "boolean", default: false },
    resume: { type: "boolean", default: false },
    budget: { type: "string" },
    out: { type: "string" },
    machine: { type: "string" },
    "kv-compress": { type: "string" },
    methods: { type: "string", default: "streaming,snapkv,knorm,expected-attention,learned" },
    peer: { type: "string", multiple: true, default: [] },
    clients: { type: "string" },
    rates: { type: "string" },
    rounds: { type: "string" },
    help: { type: "boolean", default: false },
  },
  allowPositionals: true,
});

function options(): BenchOptions {
  return {
    seed: values.seed,
    quick: values.quick,
    requests: wholeOrNull(values.requests, "requests"),
    workload: values.workload === undefined ? null : workloadOf(values.workload),
    outputTokens: wholeOrNull(values["output-tokens"], "output-tokens"),
    data: values.data ?? null,
    contextTokens: wholeOf(values["context-tokens"], "context-tokens"),
    imageTokens: wholeOf(values["image-tokens"], "image-tokens"),
    fresh: values.fresh,
    compress: values["kv-compress"] ?? null,
    methods: values.methods.split(","),
    peers: values.peer,
    clients: listOrNull(values.clients, "clients", wholeOf),
    rates: listOrNull(values.rates, "rates", positiveOf),
    rounds: wholeOrNull(values.rounds, "rounds"),
    targets: targetsOf(values.goodput),
    connectionsMax: wholeOf(values.connections, "connections"),
    timeoutMs: 1000 * positiveOf(values.timeout, "timeout"),
    serverFlags: positionals,
    deadlineMs: values.budget === undefined
      ? Infinity
      : systemClock.now() + 1000 * positiveOf(values.budget, "budget"),
  };
}

/** The folder of results; with `resume` the newest one that this machine has. */
function resultsFolder(machine: string, resume: boolean): string {
  const base = new URL(`results/${machine}/`, import.meta.url).pathname;
  const dates = resume && exists(base) ? [...Deno.readDirSync(base)].map(({ name }) => name).sort() : [];
  return base + (dates.at(-1) ?? timestamp().slice(0, 10));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

async function runExperiment(experiment: Experiment, folder: string): Promise<readonly Row[]> {
  const table = new ResultTable(`${folder}/${experiment.name}.csv`, values.resume);
  const common = { commit: commitName(), machine, seed: values.seed };
  const bench = new Bench(chosenOptions, table, stop, common, (line) => console.error(line), pace);
  const { name } = experiment;
  try {
    await experiment.run(bench);
  } finally {
    const { text, plots } = experiment.report(bench.table.rows);
    const pictures = plots.map((plot) => `\n![${plot.name}](${plot.name}.svg)\n`).join("");
    const command = `deno task bench:serve ${Deno.args.join(" ")}`;
    const commits = [...new Set(bench.table.rows.map((row) => row.commit))].join(", ");
    await Deno.writeTextFile(
      `${folder}/${name}.md`,
      `# ${name}: ${experiment.summary}\n\nCommit ${commits}, ${machineName()}, ${timestamp()}, \`${command}\`\n\n${text}\n${pictures}`,
    );
    await writePlots(plots.map((plot) => ({ path: `${folder}/${plot.name}.svg`, spec: plot.spec })));
    console.log(`\n${text}\n\nwritten to ${folder}/${name}.md and .csv`);
    if (bench.left > 0) console.log(`${bench.left} measurements were not begun: --resume goes on`);
    left += bench.left;
  }
  return table.rows;
}

/** Every experiment that is about ratios once more, and beside each ratio of the first run that of the second. */
async function repeatAll(
  experiments: readonly Experiment[],
  first: readonly (readonly Row[])[],
): Promise<void> {
  const again = `${folder}/again`;
  Deno.mkdirSync(again, { recursive: true });
  const parts: string[] = [];
  for (const [i, experiment] of experiments.entries()) {
    const { name, ratios } = experiment;
    if (ratios === undefined) continue;
    const second = await runExperiment(experiment, again);
    // A server without peers has nothing to be compared with.
    if (ratios(second).length > 0) {
      parts.push(`## ${name}\n\n${agreementText(ratios(first[i]), ratios(second))}`);
    }
  }
  const text = `# Two runs of one command\n\n\`deno task bench:serve ${Deno.args.join(" ")}\`\n\n${
    parts.join("\n\n")
  }\n`;
  await Deno.writeTextFile(`${folder}/repeat.md`, text);
  console.log(`\n${text}\nwritten to ${folder}/repeat.md`);
}

if (values.help || values.exp.length === 0) {
  console.log(HELP);
  Deno.exit(values.help ? 0 : 2);
}
const names = values.exp.flatMap((name) => name === "all" ? EXPERIMENTS.map(({ name }) => name) : [name]);
const chosen = names.map((name) => {
  const found = EXPERIMENTS.find((experiment) => experiment.name === name);
  if (found === undefined) {
    const known = EXPERIMENTS.map(({ name }) => name).join(", ");
    console.error(`--exp: expected all or one of ${known}, got "${name}"`);
    Deno.exit(2);
  }
  return found;
});
const machine = values.machine ?? machineName();
const folder = values.out ?? resultsFolder(machine, values.resume);
Deno.mkdirSync(folder, { recursive: true });
const stop = stopOnInterrupt((line) => console.error(line));
const pace = await ChainPace.start();
const chosenOptions = options();
let left = 0;
const rows: (readonly Row[])[] = [];
for (const experiment of chosen) rows.push(await runExperiment(experiment, folder));
// The second run begins when the first is whole.
if (values.repeat && !stop.aborted && left === 0) await repeatAll(chosen, rows);
// The second thread of the pace waits for work.
Deno.exit(0);
