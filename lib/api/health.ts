/** `GET /health` says that the process lives; `GET /ready` that a request would be taken now. */
import type { Service } from "./service.ts";

/** Asked every few seconds, for ever, by probes and scrapers that carry no key: open, counted, not logged. */
export const PROBE_PATHS: ReadonlySet<string> = new Set(["/health", "/ready", "/metrics"]);

export function health(): Response {
  return Response.json({ status: "ok" });
}

/** Throws RequestError loading or draining (503). */
export function ready(service: Service): Response {
  service.requireReady();
  return Response.json({ status: "ready" });
}
