/** The experiments by name. */
import { ablation } from "./ablation.ts";
import type { Experiment } from "./experiment.ts";
import { memory } from "./memory.ts";
import { methods } from "./methods.ts";
import { peers } from "./peers.ts";
import { policies } from "./policies.ts";
import { quality } from "./quality.ts";
import { scale } from "./scale.ts";

export const EXPERIMENTS: readonly Experiment[] = [
  policies,
  methods,
  ablation,
  memory,
  quality,
  scale,
  peers,
];
