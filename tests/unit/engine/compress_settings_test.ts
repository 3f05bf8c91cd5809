import assert from "node:assert/strict";
import { METHOD_NAMES } from "../../../lib/engine/compress/method.ts";
import { parseCompression } from "../../../lib/engine/compress/settings.ts";

Deno.test("parseCompression fills in the documented defaults", () => {
  const settings = (method: string) => {
    const parsed = parseCompression({ method, ratio: 0.5 });
    assert(parsed.ok);
    return parsed.compression.settings;
  };
  assert.deepEqual(settings("streaming"), { n_sink: 4 });
  assert.deepEqual(settings("lagkv"), { n_sink: 4, lag_size: 128, cross_scoring: false });
  assert.deepEqual(settings("snapkv"), { window_size: 64, kernel_size: 5 });
  assert.deepEqual(settings("pyramidkv"), { window_size: 64, kernel_size: 5, beta: 20 });
  assert.deepEqual(settings("chunkkv"), { window_size: 64, kernel_size: 5, chunk_length: 20 });
  assert.deepEqual(settings("expected-attention"), {
    n_future_positions: 512,
    n_sink: 4,
    use_covariance: true,
    use_vnorm: true,
    epsilon: 0,
  });
  for (const method of ["random", "knorm", "keydiff", "tova", "h2o", "mean-pool", "learned"]) {
    assert.deepEqual(settings(method), {});
  }
});

Deno.test("parseCompression takes every method's own settings, a budget, and re-rotation", () => {
  const parsed = parseCompression({
    method: "lagkv",
    budget: 40,
    lag_size: 16,
    cross_scoring: true,
    rerotate: true,
  });
  assert.deepEqual(parsed, {
    ok: true,
    compression: {
      method: "lagkv",
      size: { budget: 40 },
      settings: { n_sink: 4, lag_size: 16, cross_scoring: true },
      rerotate: true,
      quantise: null,
    },
  });
});

Deno.test("parseCompression takes quantisation with any method, and alone", () => {
  const packed = parseCompression({ method: "snapkv", ratio: 0.5, quantize: "int8" });
  assert(packed.ok);
  assert.deepEqual(packed.compression.quantise, { bits: 8, tail: "float" });
  for (const ratio of [{}, { ratio: 0 }]) {
    const alone = parseCompression({ method: "none", quantize: "int4", tail: "group", ...ratio });
    assert(alone.ok);
    assert.deepEqual(alone.compression.quantise, { bits: 4, tail: "group" });
  }
});

Deno.test("parseCompression takes half where neither ratio nor budget is named", () => {
  for (const method of METHOD_NAMES.filter((name) => name !== "none")) {
    assert.deepEqual(parseCompression({ method }), parseCompression({ method, ratio: 0.5 }), method);
  }
});

/** What is wrong, and the field that is named. */
const WRONG: Readonly<Record<string, readonly [wish: Record<string, unknown>, field: string]>> = {
  "no method": [{ ratio: 0.5 }, "method"],
  "an unknown method": [{ method: "zip", ratio: 0.5 }, "method"],
  "a ratio of one": [{ method: "knorm", ratio: 1 }, "ratio"],
  "a ratio in words": [{ method: "knorm", ratio: "half" }, "ratio"],
  "a ratio without a whole factor": [{ method: "mean-pool", ratio: 0.6 }, "ratio"],
  "ratio and budget": [{ method: "knorm", ratio: 0.5, budget: 10 }, "budget"],
  "a budget of nothing": [{ method: "knorm", budget: 0 }, "budget"],
  "half a token": [{ method: "knorm", budget: 1.5 }, "budget"],
  "another method's setting": [{ method: "knorm", ratio: 0.5, window_size: 16 }, "window_size"],
  "an inherited name": [{ method: "knorm", ratio: 0.5, toString: 1 }, "toString"],
  "a window of nothing": [{ method: "snapkv", ratio: 0.5, window_size: 0 }, "window_size"],
  "an even kernel": [{ method: "snapkv", ratio: 0.5, kernel_size: 4 }, "kernel_size"],
  "a partition of one": [{ method: "lagkv", ratio: 0.5, lag_size: 1 }, "lag_size"],
  "a choice that is a number": [{ method: "lagkv", ratio: 0.5, cross_scoring: 1 }, "cross_scoring"],
  "an infinite beta": [{ method: "pyramidkv", ratio: 0.5, beta: Infinity }, "beta"],
  "a re-rotated pyramid": [{ method: "pyramidkv", ratio: 0.5, rerotate: true }, "rerotate"],
  "re-rotated means": [{ method: "mean-pool", ratio: 0.5, rerotate: true }, "rerotate"],
  "a learned ratio without a whole factor": [{ method: "learned", ratio: 0.6 }, "ratio"],
  "a learned budget": [{ method: "learned", budget: 9 }, "budget"],
  "unknown bits": [{ method: "knorm", ratio: 0.5, quantize: "int2" }, "quantize"],
  "an unknown tail": [{ method: "knorm", ratio: 0.5, quantize: "int8", tail: "cut" }, "tail"],
  "a tail of nothing": [{ method: "knorm", ratio: 0.5, tail: "group" }, "tail"],
  "nothing removed, by half": [{ method: "none", ratio: 0.5 }, "ratio"],
  "packed only, by half": [{ method: "none", ratio: 0.5, quantize: "int8" }, "ratio"],
  "packed only, to a budget": [{ method: "none", budget: 5, quantize: "int8" }, "budget"],
  "re-rotation in words": [{ method: "knorm", ratio: 0.5, rerotate: "yes" }, "rerotate"],
};

for (const [name, [wish, field]] of Object.entries(WRONG)) {
  Deno.test(`parseCompression names the field of ${name}`, () => {
    const parsed = parseCompression(wish);
    assert(!parsed.ok);
    assert.equal(parsed.problem.field, field);
    assert.match(parsed.problem.message, /\w/);
  });
}

Deno.test("parseCompression knows every method", () => {
  for (const method of METHOD_NAMES) {
    const size = method === "none" ? { quantize: "int8" } : { ratio: 0.8 };
    assert(parseCompression({ method, ...size }).ok, method);
  }
});
