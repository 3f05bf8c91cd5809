import { AssertionError } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import { log } from "../lib/core/log.ts";

/** What a client sees of an error that a library threw at its request. */
export function clientError(thrown: unknown, id: string): RequestError {
  if (thrown instanceof AssertionError) throw thrown;
  if (thrown instanceof RequestError) return thrown;
  log.error("request_failed", { id, message: thrown instanceof Error ? thrown.message : String(thrown) });
  return new RequestError("internal_error", "The server could not process this request.");
}
