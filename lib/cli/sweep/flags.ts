/** The flags of `eval --sweep`: its own, and those of `start` that say what computes. */
import { SERVE_FLAGS } from "../flags.ts";
import { flagHelp, type FlagValues, many, one } from "../parse.ts";
import { readText, readWhole } from "../values.ts";

const OWN = {
  set: many(
    { metavar: "DIR", help: "folders with questions.jsonl and images", shown: "deploy/eval-set" },
    readText,
  ),
  questions: one<number | null>(
    { metavar: "N", help: "an evenly spread subset of about N questions", fallback: null, shown: "all" },
    readWhole(1, 1_000_000),
  ),
  out: one(
    { metavar: "DIR", help: "sweep.csv and sweep.md; a sweep goes on with what is there", fallback: "sweep" },
    readText,
  ),
} as const;

const DEVICE = {
  model: SERVE_FLAGS.model,
  backend: SERVE_FLAGS.backend,
  threads: SERVE_FLAGS.threads,
  dtype: SERVE_FLAGS.dtype,
  kvCacheDtype: SERVE_FLAGS.kvCacheDtype,
  compressor: SERVE_FLAGS.compressor,
} as const;

export const SWEEP_FLAGS = { ...OWN, ...DEVICE } as const;

export type SweepValues = FlagValues<typeof SWEEP_FLAGS>;

/** What `eval --sweep --help` prints. */
export function sweepHelp(): string {
  return `fastcache eval --sweep: accuracy of every compression method at 1/2, 1/3, 1/5 and 1/10 of the slots, by question type

${flagHelp(OWN)}

from start:
${flagHelp(DEVICE)}`;
}
