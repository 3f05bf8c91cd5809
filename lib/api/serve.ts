/** The listening socket. */
import type { Clock } from "../core/clock.ts";
import { StartError } from "../core/errors.ts";

interface ListenOptions {
  readonly hostname: string;
  /** 0 takes any free port. */
  readonly port: number;
}

interface HttpServer {
  /** `http://host:port` as it was bound. */
  readonly url: string;
  /**
   * Takes no new connection and waits until the running answers have been read, `graceMs` at most: a reader that
   * reads no more would hold the server for ever. False when something was still open then.
   */
  close(graceMs: number): Promise<boolean>;
}

function refusal(error: unknown, { hostname, port }: ListenOptions): StartError {
  const where = `Cannot listen on ${hostname}:${port}`;
  if (error instanceof Deno.errors.AddrInUse) {
    return new StartError(`${where}: the port is in use. Choose another with --port.`);
  }
  if (error instanceof Deno.errors.PermissionDenied) return new StartError(`${where}: permission denied.`);
  return new StartError(`${where}: ${error instanceof Error ? error.message : String(error)}`);
}

/** Listens and passes every request to `fetch`. Throws StartError when the address cannot be had. */
export function serve(
  fetch: (request: Request) => Response | Promise<Response>,
  options: ListenOptions,
  clock: Clock,
): HttpServer {
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ ...options, onListen: () => {} }, (request) => fetch(request));
  } catch (error) {
    throw refusal(error, options);
  }
  const host = options.hostname.includes(":") ? `[${options.hostname}]` : options.hostname;
  return {
    url: `http://${host}:${server.addr.port}`,
    close: (graceMs) =>
      new Promise((resolve, reject) => {
        const stop = clock.after(graceMs, () => resolve(false));
        server.shutdown().finally(stop).then(() => resolve(true), reject);
      }),
  };
}
