/** Bearer keys. Without keys the server is open, and a key that is offered all the same only tells tenants apart. */
import type { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { RequestError } from "../core/errors.ts";
import type { AppEnv } from "./access_log.ts";
import { PROBE_PATHS } from "./health.ts";

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** Whether `offered` is one of `keys` (digests). Takes as long for a near miss as for a far one, and for every key. */
function matches(keys: readonly Uint8Array[], offered: Uint8Array): boolean {
  let found = false;
  for (const key of keys) found = timingSafeEqual(key, offered) || found;
  return found;
}

/** Leaves the tenant for handlers. Refuses requests without one of `apiKeys` with RequestError invalid_api_key (401). */
export function requireKey(apiKeys: readonly string[]): MiddlewareHandler<AppEnv> {
  const keys = apiKeys.map(digest);
  return async (c, next) => {
    const offered = /^bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "")?.[1];
    if (keys.length > 0 && !PROBE_PATHS.has(c.req.path)) {
      if (offered === undefined) {
        throw new RequestError("invalid_api_key", "An API key is required: Authorization: Bearer KEY.");
      }
      if (!matches(keys, digest(offered))) {
        throw new RequestError("invalid_api_key", "The API key is not correct.");
      }
    }
    c.set("tenant", offered === undefined ? "" : digest(offered).toString("base64"));
    await next();
  };
}
