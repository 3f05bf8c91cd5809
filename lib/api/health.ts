/** `GET /health` says that the process lives; `GET /ready` that a request would be taken now. */
import type { Service } from "./service.ts";

export function health(): Response {
  return Response.json({ status: "ok" });
}

/** Throws RequestError loading or draining (503). */
export function ready(service: Service): Response {
  service.requireReady();
  return Response.json({ status: "ready" });
}
