/** The real server inside the test's process, on a free port. */
import { SERVE_FLAGS, type ServeValues } from "../../lib/cli/flags.ts";
import { parseFlags } from "../../lib/cli/parse.ts";
import { compose } from "../../lib/cli/start.ts";
import type { MeasuredScheduler } from "../../scheduler/mod.ts";

export interface TestServer {
  readonly url: string;
  readonly scheduler: MeasuredScheduler;
  /** Cancels what runs and gives everything back. */
  close(): Promise<void>;
}

/** Starts a server as `start` does, with these flags' values in place of the defaults. The environment does not count. */
export async function startServer(values: Partial<ServeValues> = {}): Promise<TestServer> {
  const defaults = parseFlags(SERVE_FLAGS, [], () => undefined).values;
  const running = await compose({ ...defaults, port: 0, ...values }, () => {}, () => {});
  return { url: running.url, scheduler: running.scheduler, close: () => running.stop(0) };
}
