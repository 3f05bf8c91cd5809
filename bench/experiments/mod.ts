/** The experiments by name. */
import type { Experiment } from "./experiment.ts";
import { peers } from "./peers.ts";
import { policies } from "./policies.ts";

export const EXPERIMENTS: readonly Experiment[] = [policies, peers];
