/** The program as its users run it: another process, its start lines, its exit code. */
import { systemClock } from "../../lib/core/clock.ts";

export interface ServerProcess {
  /** Where it listens, from its own line. */
  readonly url: string;
  /** Lines on standard output up to the listening line. */
  readonly banner: readonly string[];
  /** Process start to listening line. */
  readonly startMs: number;
  /** Standard error so far. */
  errors(): string;
  signal(name: Deno.Signal): void;
  readonly status: Promise<Deno.CommandStatus>;
  /** SIGTERM if it still runs, then the exit code. */
  stop(): Promise<number>;
}

const PROJECT = new URL("../../", import.meta.url);

/** Runs `main.ts start` with `flags` on a free port. Throws with its standard error when it ends instead of listening. */
export async function startProcess(
  flags: readonly string[],
  env: Record<string, string> = {},
): Promise<ServerProcess> {
  const begun = systemClock.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "main.ts", "start", "--port", "0", ...flags],
    cwd: PROJECT,
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let ended = false;
  child.status.then(() => ended = true);
  let errors = "";
  const stderrEnd = drain(child.stderr, (text) => errors += text);
  const banner: string[] = [];
  const { promise: listening, resolve } = Promise.withResolvers<string | null>();
  let line = "";
  const stdoutEnd = drain(child.stdout, (text) => {
    const lines = (line + text).split("\n");
    line = lines.pop()!;
    for (const whole of lines) {
      banner.push(whole);
      const url = /^listening on (http:\/\/\S+)$/.exec(whole)?.[1];
      if (url !== undefined) resolve(url);
    }
  }).then(() => resolve(null));
  const url = await listening;
  if (url === null) {
    const { code } = await child.status;
    await Promise.all([stderrEnd, stdoutEnd]);
    throw new Error(`the server ended with exit code ${code} before it listened: ${errors}`);
  }
  return {
    url,
    banner: [...banner],
    startMs: systemClock.now() - begun,
    errors: () => errors,
    signal: (name) => child.kill(name),
    status: child.status,
    async stop() {
      if (!ended) child.kill("SIGTERM");
      const { code } = await child.status;
      await Promise.all([stderrEnd, stdoutEnd]);
      return code;
    },
  };
}

async function drain(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}
