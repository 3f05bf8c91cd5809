/** The HTTP interface on one screen: what every request passes, and where it goes. */
import { type Context, Hono } from "hono";
import { RequestError } from "../core/errors.ts";
import { accessLog, type AppEnv } from "./access_log.ts";
import { requireKey } from "./auth.ts";
import { chat } from "./chat.ts";
import { completions } from "./completions.ts";
import { allowOrigins } from "./cors.ts";
import { asRequestError, CLIENT_GONE_STATUS, ClientGone, errorResponse } from "./errors.ts";
import { health, PROBE_PATHS, ready } from "./health.ts";
import { createMetrics } from "./metrics.ts";
import { listModels, showModel } from "./models.ts";
import type { AppParts } from "./parts.ts";

/** Methods of each route, for 405 answers. */
const METHODS: Readonly<Record<string, string>> = {
  "/health": "GET",
  "/ready": "GET",
  "/metrics": "GET",
  "/v1/models": "GET",
  "/v1/models/:id{.+}": "GET",
  "/v1/chat/completions": "POST",
  "/v1/completions": "POST",
};

function answerError(thrown: unknown, c: Context<AppEnv>): Response {
  const record = c.get("record");
  if (thrown instanceof ClientGone) {
    record.end = "disconnected";
    return new Response(null, { status: CLIENT_GONE_STATUS });
  }
  const error = asRequestError(thrown);
  record.end = error.code;
  return errorResponse(error);
}

export function createApp(parts: AppParts): Hono<AppEnv> {
  const { service, options, clock, random } = parts;
  const metrics = createMetrics(service);
  const app = new Hono<AppEnv>();

  app.use(accessLog(clock, random, (record) => {
    metrics.countRequest(record);
    if (!PROBE_PATHS.has(record.path)) parts.accessLog(record.fields());
  }));
  app.use(allowOrigins(options.allowedOrigins));
  app.use(requireKey(options.apiKeys));

  app.get("/health", () => health());
  app.get("/ready", () => ready(service));
  app.get("/metrics", () => metrics.answer());
  app.get("/v1/models", () => listModels(service.requireLoaded().model));
  app.get("/v1/models/:id{.+}", (c) => showModel(service.requireLoaded().model, c.req.param("id")));
  app.post("/v1/chat/completions", (c) => chat(c, parts));
  app.post("/v1/completions", (c) => completions(c, parts));

  for (const [path, methods] of Object.entries(METHODS)) {
    app.all(path, (c) => {
      const why = `${c.req.method.slice(0, 20)} is not allowed here; use ${methods}.`;
      const response = answerError(new RequestError("method_not_allowed", why), c);
      response.headers.set("allow", methods);
      return response;
    });
  }
  app.notFound((c) =>
    answerError(new RequestError("not_found", `There is no ${c.req.path.slice(0, 200)}.`), c)
  );
  app.onError((error, c) => answerError(error, c));
  return app;
}
