/** The program: commands, exit codes, signals. */
import project from "./deno.json" with { type: "json" };
import { ensureAdapter, prepareEnvironment } from "./lib/cli/adapter.ts";
import { doctor } from "./lib/cli/doctor.ts";
import { evaluate, prepareEvaluation } from "./lib/cli/eval.ts";
import {
  EVAL_FLAGS,
  helpText,
  SERVE_FLAGS,
  type ServeValues,
  TRAIN_FLAGS,
  type TrainValues,
} from "./lib/cli/flags.ts";
import { type FlagTable, type FlagValues, parseFlags } from "./lib/cli/parse.ts";
import { onStopSignal, StopSignals } from "./lib/cli/signals.ts";
import { compose, type Running } from "./lib/cli/start.ts";
import { SWEEP_FLAGS, sweepHelp, type SweepValues } from "./lib/cli/sweep/flags.ts";
import { sweep } from "./lib/cli/sweep/sweep.ts";
import { trainCompressor } from "./lib/cli/train_compressor.ts";
import { systemClock } from "./lib/core/clock.ts";
import { StartError, UsageError } from "./lib/core/errors.ts";

/** Starts a server and keeps it until a signal; see `StopSignals`. */
async function start(options: ServeValues): Promise<number> {
  const running = await begin(options, (line) => console.log(line));
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const signals = new StopSignals(systemClock);
  onStopSignal((signal) => {
    const action = signals.decide(signal);
    if (action === "drain") resolve();
    else if (action === "end") Deno.exit(130);
  });
  console.log(`listening on ${running.url}`);
  await stopped;
  const { sequences } = running.scheduler.snapshot();
  console.error(
    sequences === 0
      ? "stopping"
      : `stopping: running requests have ${options.shutdownTimeout / 1000} s to end`,
  );
  await running.stop(options.shutdownTimeout);
  return 0;
}

async function begin(options: ServeValues, say: (line: string) => void): Promise<Running> {
  if (options.backend === "webgpu") await ensureAdapter((line) => console.error(line));
  return await compose(options, say);
}

async function runSweep(options: SweepValues): Promise<number> {
  if (options.backend === "webgpu") await ensureAdapter((line) => console.error(line));
  await sweep(options, (line) => console.log(line));
  return 0;
}

async function runEval(options: FlagValues<typeof EVAL_FLAGS>): Promise<number> {
  const prepared = await prepareEvaluation(options);
  if (options.url !== null) {
    await evaluate(options.url, prepared, options);
    return 0;
  }
  const running = await begin({ ...options, host: "127.0.0.1", port: 0 }, (line) => console.error(line));
  try {
    await evaluate(running.url, prepared, options);
  } finally {
    await running.stop(0);
  }
  return 0;
}

async function runTraining(options: TrainValues): Promise<number> {
  if (options.images === "") throw new UsageError("--images is needed: the folder of pictures to train on");
  const factor = options.factor.length === 0 ? [5] : options.factor;
  await trainCompressor({ ...options, factor }, (line) => console.error(line));
  return 0;
}

/** Reads the flags and runs the command, or prints the help or the version. */
async function withFlags<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  run: (values: FlagValues<Table>) => Promise<number>,
  help = helpText,
): Promise<number> {
  const { values, asked } = parseFlags(table, args, (name) => Deno.env.get(name));
  if (asked === null) return await run(values);
  console.log(asked === "help" ? help() : `${project.name} ${project.version}`);
  return 0;
}

async function main(args: readonly string[]): Promise<number> {
  const named = args.length > 0 && !args[0].startsWith("-");
  const [command, rest] = named ? [args[0], args.slice(1)] : ["start", args];
  switch (command) {
    case "start":
      return await withFlags(SERVE_FLAGS, rest, start);
    case "doctor":
      return await withFlags({}, rest, doctor);
    case "eval":
      return rest.includes("--sweep")
        ? await withFlags(SWEEP_FLAGS, rest.filter((arg) => arg !== "--sweep"), runSweep, sweepHelp)
        : await withFlags(EVAL_FLAGS, rest, runEval);
    case "train-compressor":
      return await withFlags(TRAIN_FLAGS, rest, runTraining);
    case "help":
      return await withFlags({}, ["--help"], () => Promise.resolve(0));
    default:
      throw new UsageError(`unknown command "${command}": start, doctor, eval, train-compressor or help`);
  }
}

prepareEnvironment();
try {
  // Workers may still be alive here; nothing that they hold matters any more.
  Deno.exit(await main(Deno.args));
} catch (error) {
  if (!(error instanceof StartError || error instanceof UsageError)) throw error;
  console.error(`error: ${error.message}`);
  Deno.exit(error instanceof UsageError ? 2 : 1);
}
