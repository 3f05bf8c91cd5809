/** Whether a client got what its request alone determines, and whether whatever else happened to it had a reason. */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../lib/core/errors.ts";
import { BAD_PIXELS } from "../support/scripted_text.ts";
import type { Client } from "./client.ts";
import type { Expectation } from "./expectation.ts";
import { contentOf } from "./traffic.ts";

/** What has happened in the world until a client's end. */
export interface Circumstances {
  /** Calls failed, rows were no numbers, or the device is lost. */
  readonly deviceFaults: boolean;
  /** The device was lost before this client came. */
  readonly deviceLost: boolean;
  readonly draining: boolean;
  /** The scheduler was told to cancel what runs. */
  readonly cancelling: boolean;
  /** Deadlines that this scheduler has. */
  readonly queueDeadline: boolean;
  readonly readerDeadline: boolean;
  /** Few tokens may wait. */
  readonly tokensBounded: boolean;
}

/** `pressureAt`: stored tokens when its cache was written shorter because memory was short; null: it was not. */
export function checkAnswer(
  client: Client,
  expectation: Expectation,
  pressureAt: number | null,
  world: Circumstances,
): void {
  const { script: { request: { id } }, record } = client;
  const { refusal } = expectation;
  if (refusal !== null) assert.equal(record.promptTokens, 0, `${id} is not admitted: ${refusal}`);
  else {
    const beginning = expectation.answer(pressureAt).ids.slice(0, record.ids.length);
    assert.deepEqual(record.ids, beginning, `tokens of ${id}`);
  }
  switch (record.ending) {
    case "finished":
      assert(!world.deviceLost, `${id} is not answered without a device`);
      return checkFinished(client, expectation, pressureAt);
    case "failed": {
      const { code } = record.error!;
      if (code === refusal) return;
      assert(failureReasons(client, world)[code], `${id} failed without a reason: ${code}, ${refusal}`);
      return;
    }
    case "refused":
      assert.equal(record.error!.code, world.draining ? "draining" : "rate_limit_exceeded", id);
      return;
    case "cancelled":
      assert(client.gone || world.cancelling, `${id} was cancelled by nobody`);
      return;
    case "left":
      assert(client.gone, `${id} has no terminal event and did not leave`);
      return;
    case null:
      assert.fail(`${id} was not answered`);
  }
}

function checkFinished({ record }: Client, expectation: Expectation, pressureAt: number | null): void {
  const { id, compression } = expectation.request;
  assert.equal(expectation.refusal, null, `${id} is refused`);
  const { ids, text, reason } = record;
  assert.deepEqual({ ids, text, reason }, expectation.answer(pressureAt), id);
  assert.equal(record.finished!.completionTokens, ids.length);
  const usage = record.finished!.compression;
  assert.equal(usage === null, !compression, `${id} is told of its compression`);
  if (usage === null) return;
  const shortening = expectation.shortening(pressureAt);
  // One that ends with its first token is not written shorter any more.
  const prompt = expectation.prompt.length;
  const whole = shortening === null || ids.length === 1;
  const [stored, kept] = whole ? [prompt, prompt] : [shortening.atTokens, shortening.kept];
  assert.deepEqual([usage.storedTokens, usage.keptTokens], [stored, kept], `compression of ${id}`);
  const done = ["request", "memory", "gain"].includes(usage.reason);
  assert.equal(
    done,
    !whole,
    `${id} is told why its cache is ${whole ? "whole" : "shorter"}: ${usage.reason}`,
  );
}

/** Codes with which a request that could be served may fail. */
function failureReasons(
  { script, record }: Client,
  world: Circumstances,
): Partial<Record<ErrorCode, boolean>> {
  const { request, readMs, stops } = script;
  return {
    image_parse_error: contentOf(request).some((part) =>
      part.type === "image" && part.bytes[0] === BAD_PIXELS
    ),
    engine_failed: world.deviceFaults,
    queue_timeout: world.queueDeadline && record.ids.length === 0,
    reader_timeout: world.readerDeadline && (readMs > 0 || stops !== null),
    rate_limit_exceeded: world.tokensBounded && record.promptTokens === 0,
  };
}
