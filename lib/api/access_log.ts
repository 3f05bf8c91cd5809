/** One record per request; for an answer that is written as it comes, when it has ended, and says how. */
import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import type { Clock } from "../core/clock.ts";
import type { Fields } from "../core/log.ts";
import { type Random, randomId } from "../core/random.ts";

/** What is known of one request so far. Handlers fill it in; it is written once. */
export class AccessRecord {
  status = 0;
  /** The pattern of the route that answered; a wildcard where none did. */
  route = "*";
  promptTokens: number | undefined;
  completionTokens: number | undefined;
  /** A finish reason, an error code, or `disconnected`. */
  end: string | undefined;
  /** An answer may go on after its handler has returned; whoever holds the record calls {@link write}. */
  held = false;
  readonly #startedMs: number;

  constructor(
    readonly id: string,
    readonly method: string,
    readonly path: string,
    private readonly clock: Clock,
    private readonly sink: (record: AccessRecord) => void,
  ) {
    this.#startedMs = clock.now();
  }

  write(): void {
    this.sink(this);
  }

  /** The line's fields, with the milliseconds until now. */
  fields(): Fields {
    return {
      id: this.id,
      method: this.method,
      path: this.path,
      status: this.status,
      ms: Math.round((this.clock.now() - this.#startedMs) * 10) / 10,
      prompt_tokens: this.promptTokens,
      completion_tokens: this.completionTokens,
      end: this.end,
    };
  }
}

/** What middleware leaves for handlers. */
export interface AppEnv {
  Variables: {
    record: AccessRecord;
    /** Who asks: a digest of the key that was offered, empty without one. */
    tenant: string;
  };
}

/** The client's `x-request-id` where it is short visible ASCII, else a new one. */
function requestId(offered: string | undefined, random: Random): string {
  return offered !== undefined && /^[\x21-\x7e]{1,128}$/.test(offered) ? offered : randomId(random, "req-");
}

/** Gives every request its id, returns it in `x-request-id`, and passes its record to `sink`. */
export function accessLog(
  clock: Clock,
  random: Random,
  sink: (record: AccessRecord) => void,
): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const id = requestId(c.req.header("x-request-id"), random);
    const record = new AccessRecord(id, c.req.method, c.req.path, clock, sink);
    c.set("record", record);
    await next();
    c.header("x-request-id", id);
    record.status = c.res.status;
    // Without the pattern of a parameter: `:id{.+}` is the router's business.
    record.route = routePath(c, -1).replace(/\{[^/]*\}/g, "");
    if (!record.held) record.write();
  };
}
