/** The workloads by name. */
import { chat } from "./chat.ts";
import { gqaCaption, gqaVqa } from "./gqa.ts";
import { mileBench } from "./milebench.ts";
import { text } from "./text.ts";
import type { Workload } from "./workload.ts";

export const WORKLOADS = {
  "gqa-vqa": gqaVqa,
  "gqa-caption": gqaCaption,
  milebench: mileBench,
  text,
  chat,
} as const satisfies Record<string, Workload>;
export type WorkloadName = keyof typeof WORKLOADS;
