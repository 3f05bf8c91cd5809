/**
 * `deno task test`: makes sure of a WebGPU adapter as `start` does, runs `deno test`, and ends with the line
 * `N passed, N failed` from the real counts. Exit code 0 only when something passed and nothing failed. Arguments go to
 * `deno test`; without any, all tests run: those of servers one file after the other, all others a file a core.
 */
import { ensureAdapter, prepareEnvironment } from "../lib/cli/adapter.ts";
import { StartError } from "../lib/core/errors.ts";
import { countTests, tally, type TestCounts } from "./support/tally.ts";

prepareEnvironment();
try {
  const found = await ensureAdapter((line) => console.error(line));
  console.log(`WebGPU adapter: ${found.name}`);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  // The tests that need it skip by name, or fail where CI is set; this says why.
  console.error(error.message);
}

/** Arguments of `deno test`, one run after the other. */
const runs = Deno.args.length > 0
  ? [Deno.args]
  : [["--parallel", "--ignore=tests/e2e", "tests"], ["tests/e2e"]];

interface Run {
  readonly counts: TestCounts | null;
  readonly code: number;
}

async function runTests(args: readonly string[]): Promise<Run> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-prompt", ...args],
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
  return { counts: countTests(tail), code: (await child.status).code };
}

const total = { passed: 0, failed: 0, skipped: 0 };
for (const args of runs) {
  const { counts, code } = await runTests(args);
  total.passed += counts?.passed ?? 0;
  total.skipped += counts?.skipped ?? 0;
  // A run that ends without its counts, or badly without a failed test, has failed.
  total.failed += Math.max(counts?.failed ?? 1, code === 0 ? 0 : 1);
}
console.log(tally(total));
Deno.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
