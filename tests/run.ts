/**
 * `deno task test`: makes sure of a WebGPU adapter as `start` does, runs `deno test` with the arguments given, and ends
 * with the line `N passed, N failed` from the real counts. Exit code 0 only when something passed and nothing failed.
 */
import { ensureAdapter, prepareEnvironment } from "../lib/cli/adapter.ts";
import { StartError } from "../lib/core/errors.ts";
import { countTests, tally } from "./support/tally.ts";

prepareEnvironment();
try {
  const found = await ensureAdapter((line) => console.error(line));
  console.log(`WebGPU adapter: ${found.name}`);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  // The tests that need it skip by name, or fail where CI is set; this says why.
  console.error(error.message);
}

const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "-A", "--no-prompt", ...Deno.args],
  stdin: "null",
  stdout: "piped",
  stderr: "inherit",
}).spawn();

const decoder = new TextDecoder();
let tail = "";
for await (const bytes of child.stdout) {
  Deno.stdout.writeSync(bytes);
  // The summary is the last thing printed; a few kilobytes hold it.
  tail = (tail + decoder.decode(bytes, { stream: true })).slice(-4096);
}
const { code } = await child.status;
const counts = countTests(tail);
const failed = counts === null ? 1 : code !== 0 && counts.failed === 0 ? 1 : counts.failed;
console.log(tally({ passed: counts?.passed ?? 0, failed, skipped: counts?.skipped ?? 0 }));
Deno.exit(failed > 0 ? 1 : code);
