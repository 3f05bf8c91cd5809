import { assert } from "../../lib/core/assert.ts";
import { KV_GROUP_WORDS } from "../../lib/ops/kv.ts";
import { type Job, listJobs } from "./kv_pages.ts";
import type { Operands } from "./tensor.ts";

/** The groups of kv_read_rows and kv_write_rows, each with the job of its layer. */
export function listGroups(
  { jobs, groups, layer }: Pick<Operands<"kvReadRows">, "jobs" | "groups" | "layer">,
): { readonly job: Job; readonly first: number; readonly target: number }[] {
  const all = listJobs(jobs), words = groups.values;
  assert(words.length > 0 && words.length % KV_GROUP_WORDS === 0, "groups are whole");
  return Array.from({ length: words.length / KV_GROUP_WORDS }, (_, g) => ({
    job: all[words[KV_GROUP_WORDS * g] + layer],
    first: words[KV_GROUP_WORDS * g + 1],
    target: words[KV_GROUP_WORDS * g + 2],
  }));
}
