/** The flags that the load generator and the experiments share. */
import type { ParseArgsOptionsConfig } from "node:util";
import type { Targets } from "./load/figures.ts";
import { type WorkloadName, WORKLOADS } from "./workloads/mod.ts";

/** For node:util's parseArgs. Flags of a server that is started come after `--`. */
export const LOAD_OPTIONS = {
  workload: { type: "string" },
  requests: { type: "string" },
  seed: { type: "string", default: "1" },
  "output-tokens": { type: "string" },
  data: { type: "string" },
  "context-tokens": { type: "string", default: "2048" },
  "image-tokens": { type: "string", default: "70" },
  fresh: { type: "boolean", default: false },
  goodput: { type: "string", default: "ttft:1000,tpot:100" },
  connections: { type: "string", default: "512" },
  timeout: { type: "string", default: "120" },
} as const satisfies ParseArgsOptionsConfig;

export const LOAD_HELP = `  --workload NAME        ${Object.keys(WORKLOADS).join(", ")}
  --requests N           how many
  --seed TEXT            the same seed gives the same requests and arrivals (1)
  --output-tokens N      exactly so many a request, past the end of the answer; no answer is judged then
  --data DIR             files of GQA or MileBench instead of drawn pictures
  --context-tokens N     milebench: positions of the model, longer prompts lose their beginning (2048)
  --image-tokens N       milebench: positions of a picture (70)
  --fresh                a pixel of every picture differs, so that no cache of pictures helps
  --goodput LIST         targets in ms that a request must keep, of ttft, tpot and e2e (ttft:1000,tpot:100)
  --connections N        most requests in flight (512)
  --timeout SECONDS      a request that takes longer counts as an error (120)`;

export function wholeOf(text: string, flag: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (!(value >= 1)) throw new Error(`--${flag}: expected a whole number of at least 1, got "${text}"`);
  return value;
}

export function wholeOrNull(text: string | undefined, flag: string): number | null {
  return text === undefined ? null : wholeOf(text, flag);
}

export function positiveOf(text: string, flag: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  if (!(value > 0 && Number.isFinite(value))) {
    throw new Error(`--${flag}: expected a number above 0, got "${text}"`);
  }
  return value;
}

export function listOrNull(
  text: string | undefined,
  flag: string,
  read: (text: string, flag: string) => number,
): number[] | null {
  return text === undefined ? null : text.split(",").map((item) => read(item, flag));
}

export function oneOf<Name extends string>(text: string, flag: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  if (found === undefined) throw new Error(`--${flag}: expected one of ${names.join(", ")}, got "${text}"`);
  return found;
}

export function workloadOf(name: string): WorkloadName {
  return oneOf(name, "workload", Object.keys(WORKLOADS) as WorkloadName[]);
}

const TARGETS: Readonly<Record<string, keyof Targets>> = {
  ttft: "ttftMs",
  tpot: "tpotMs",
  e2e: "endToEndMs",
};

/** `ttft:1000,tpot:100`. */
export function targetsOf(text: string): Targets {
  const targets = { ttftMs: null, tpotMs: null, endToEndMs: null } as Record<keyof Targets, number | null>;
  for (const item of text.split(",")) {
    const [name, limit] = item.split(":");
    const key = TARGETS[name];
    if (key === undefined || limit === undefined) {
      throw new Error(`--goodput: expected a list such as ttft:1000,tpot:100,e2e:5000, got "${text}"`);
    }
    targets[key] = positiveOf(limit, "goodput");
  }
  return targets;
}
