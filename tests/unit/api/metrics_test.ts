import assert from "node:assert/strict";
import { scriptedApp, scriptedModel } from "../../support/scripted_scheduler.ts";

/** Samples by name and labels. */
async function scrape(app: ReturnType<typeof scriptedApp>["app"]): Promise<Map<string, number>> {
  const response = await app.request("/metrics");
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

Deno.test("metrics: gauges are read from the scheduler under both names", async () => {
  const samples = await scrape(scriptedApp().app);
  assert.equal(samples.get("vllm:num_requests_running"), 2);
  assert.equal(samples.get("vllm:num_requests_waiting"), 3);
  assert.equal(samples.get("vllm:kv_cache_usage_perc"), 0.25);
  assert.equal(samples.get("fastcache_requests_running"), 2);
  assert.equal(samples.get("fastcache_kv_pages_used"), 16);
  assert.equal(samples.get('fastcache_stage_queue{stage="decode"}'), 2);
});

Deno.test("metrics: histograms are cumulative and agree with what was observed", async () => {
  const { app, scheduler: { metrics } } = scriptedApp();
  metrics.ttft.observe(0.2);
  metrics.ttft.observe(0.7);
  metrics.endToEnd.observe(1000);
  metrics.stageRun.prefill.observe(0.5);
  metrics.pictureSeconds.observe(0.003);
  const samples = await scrape(app);
  const name = "fastcache_time_to_first_token_seconds";
  assert.equal(samples.get(`${name}_bucket{le="0.1"}`), 0);
  assert.equal(samples.get(`${name}_bucket{le="0.25"}`), 1);
  assert.equal(samples.get(`${name}_bucket{le="1"}`), 2);
  assert.equal(samples.get(`${name}_bucket{le="+Inf"}`), 2);
  assert.equal(samples.get(`${name}_count`), 2);
  assert.ok(Math.abs(samples.get(`${name}_sum`)! - 0.9) < 1e-9);
  assert.equal(samples.get('fastcache_stage_run_seconds_bucket{stage="prefill",le="0.5"}'), 1);
  assert.equal(samples.get('fastcache_stage_wait_seconds_count{stage="decode"}'), 0);
  assert.equal(samples.get("fastcache_picture_seconds_sum"), 0.003);
  assert.equal(samples.get('fastcache_request_seconds_bucket{le="+Inf"}'), 1);
  assert.equal(samples.get('fastcache_request_seconds_bucket{le="300"}'), 0);
});

Deno.test("metrics: counters follow the scheduler's and do not grow by being read", async () => {
  const { app, scheduler: { metrics } } = scriptedApp();
  metrics.generatedTokens = 30;
  metrics.finished.length = 2;
  metrics.stepFailures.decode = 1;
  metrics.compressed = 7;
  metrics.shrunk = 2;
  metrics.paid = 1;
  metrics.shadow.putOff = 3;
  await scrape(app);
  const samples = await scrape(app);
  assert.equal(samples.get("fastcache_completion_tokens_total"), 30);
  assert.equal(samples.get('fastcache_requests_total{end="length"}'), 2);
  assert.equal(samples.get('fastcache_requests_total{end="cancelled"}'), 0);
  assert.equal(samples.get('fastcache_step_failures_total{stage="decode"}'), 1);
  assert.equal(samples.get("fastcache_shadow_put_off_total"), 3);
  for (const [reason, count] of Object.entries({ request: 4, memory: 2, gain: 1 })) {
    assert.equal(samples.get(`fastcache_compressions_total{for="${reason}"}`), count);
  }
});

Deno.test("metrics: requests are counted by route and status, and clients cannot add labels", async () => {
  const { app, post } = scriptedApp();
  await app.request("/v1/models/a");
  await app.request("/v1/models/b");
  await app.request("/nothing/here");
  await app.request("/nor/here", { method: "FROB" });
  await app.request("/health");
  await (await post("/v1/completions", { prompt: "x" })).text();
  const samples = await scrape(app);
  const counted = [...samples].filter(([name]) => name.startsWith("fastcache_http_requests_total"));
  assert.deepEqual(Object.fromEntries(counted), {
    'fastcache_http_requests_total{route="/v1/models/:id",status="404"}': 2,
    'fastcache_http_requests_total{route="/*",status="404"}': 2,
    'fastcache_http_requests_total{route="/health",status="200"}': 1,
    'fastcache_http_requests_total{route="/v1/completions",status="200"}': 1,
  });
});

Deno.test("metrics: before the model is loaded everything reads zero", async () => {
  const { app, service, scheduler } = scriptedApp(undefined, { load: false });
  const before = await scrape(app);
  assert.equal(before.get("vllm:num_requests_running"), 0);
  assert.equal(before.get("vllm:kv_cache_usage_perc"), 0);
  service.open({ scheduler, model: scriptedModel });
  assert.equal((await scrape(app)).get("vllm:num_requests_running"), 2);
});
