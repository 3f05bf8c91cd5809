/** Servers to be measured: this project's, started with some flags; another one, started by a command; or a running one. */
import { type Clock, sleep, systemClock } from "../lib/core/clock.ts";
import { startProcess } from "../tests/support/process.ts";
import { LoadClient } from "./load/client.ts";
import type { Dialect } from "./load/request.ts";

export interface Served extends AsyncDisposable {
  readonly name: string;
  readonly client: LoadClient;
  readonly dialect: Dialect;
  /** What it said before it listened, if it was started here. */
  readonly banner: readonly string[];
  /** Process start to listening; NaN for one that ran already. */
  readonly startMs: number;
}

/** How long a command may take until its server answers. */
const COMMAND_START_MS_MAX = 120_000;
const COMMAND_ASK_MS = 100;
/** How long a process may take to end after SIGTERM; then it is killed. */
const STOP_MS_MAX = 10_000;

/** This project's server in a process of its own. */
export async function startOwn(
  name: string,
  flags: readonly string[],
  fields: Dialect["fields"] = {},
): Promise<Served> {
  const process = await startProcess(flags);
  const client = new LoadClient({ url: process.url, apiKey: null }, systemClock);
  return {
    name,
    client,
    dialect: { model: null, timings: true, fields },
    banner: process.banner,
    startMs: process.startMs,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await process.stop();
    },
  };
}

/** A server that runs somewhere. Its models are asked for, since most want one named. */
export async function useRunning(
  name: string,
  url: string,
  apiKey: string | null,
  timings: boolean,
): Promise<Served> {
  const client = new LoadClient({ url: url.replace(/\/(v1\/?)?$/, ""), apiKey }, systemClock);
  const model = await client.firstModel();
  return {
    name,
    client,
    dialect: { model, timings, fields: {} },
    banner: [],
    startMs: NaN,
    [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      return Promise.resolve();
    },
  };
}

/** A command of a shell; `{port}` in it becomes a free port, where its server must listen on 127.0.0.1. */
export async function startCommand(name: string, command: string): Promise<Served> {
  if (!command.includes("{port}")) {
    throw new Error(`--peer ${name}: the command must take its port from {port}`);
  }
  const port = freePort();
  const begunMs = systemClock.now();
  const child = new Deno.Command("sh", {
    // exec: the signal at the end must reach the server and not a shell before it.
    args: ["-c", `exec ${command.replaceAll("{port}", String(port))}`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  child.status.then(() => ended = true);
  const stop = async () => {
    if (!ended) child.kill("SIGTERM");
    const kill = systemClock.after(STOP_MS_MAX, () => child.kill("SIGKILL"));
    await child.status;
    kill();
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await untilReady(url, () => ended, systemClock);
    const served = await useRunning(name, url, null, false);
    return {
      ...served,
      startMs: systemClock.now() - begunMs,
      async [Symbol.asyncDispose]() {
        served.client[Symbol.dispose]();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** `NAME=URL`, or `NAME=COMMAND`. */
export function openPeer(peer: string): Promise<Served> {
  const at = peer.indexOf("=");
  if (at < 1) throw new Error(`--peer ${peer}: expected NAME=URL or NAME=COMMAND`);
  const name = peer.slice(0, at), where = peer.slice(at + 1);
  return /^https?:\/\//.test(where) ? useRunning(name, where, null, false) : startCommand(name, where);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Answers of 503 while a model is loading are not ready. */
async function untilReady(url: string, ended: () => boolean, clock: Clock): Promise<void> {
  const deadlineMs = clock.now() + COMMAND_START_MS_MAX;
  while (clock.now() < deadlineMs) {
    if (ended()) throw new Error("the command ended before its server answered");
    try {
      const response = await fetch(`${url}/v1/models`);
      await response.body?.cancel();
      if (response.ok) {
        const health = await fetch(`${url}/health`);
        await health.body?.cancel();
        if (health.ok || health.status === 404) return;
      }
    } catch {
      // Nobody listens yet.
    }
    await sleep(clock, COMMAND_ASK_MS);
  }
  throw new Error(`the command's server did not answer within ${COMMAND_START_MS_MAX / 1000} s`);
}
