/** Which web pages may call the server. Without origins none may, and no header is added. */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";

/** `*` among `allowedOrigins` allows every page. */
export function allowOrigins(allowedOrigins: readonly string[]): MiddlewareHandler {
  if (allowedOrigins.length === 0) return (_, next) => next();
  return cors({
    origin: allowedOrigins.includes("*") ? "*" : [...allowedOrigins],
    allowMethods: ["GET", "POST"],
    exposeHeaders: ["x-request-id", "retry-after"],
    maxAge: 600,
  });
}
