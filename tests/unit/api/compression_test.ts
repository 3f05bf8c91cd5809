import assert from "node:assert/strict";
import { compressionOf } from "../../../lib/api/compression.ts";
import { readCompression } from "../../../lib/cli/values.ts";
import { RequestError } from "../../../lib/core/errors.ts";
import { compressionBy } from "../../support/compressions.ts";
import { uniformFactors } from "../../../lib/model/compressor.ts";

Deno.test("compressionOf: both forms, none and absence", () => {
  const half = compressionBy("mean-pool", 0.5);
  assert.deepEqual(compressionOf({ method: "mean-pool", ratio: 0.5 }), half);
  assert.deepEqual(compressionOf("mean-pool:0.5"), half);
  assert.equal(compressionOf("none"), null);
  assert.equal(compressionOf({ method: "none", ratio: 0, min_tokens: 64, protect: [] }), null);
  assert.equal(compressionOf(null), undefined);
  assert.equal(compressionOf(undefined), undefined);
});

Deno.test("compressionOf removes half where neither ratio nor budget is named, as the flag does", () => {
  const half = compressionBy("keydiff", 0.5);
  for (const asked of ["keydiff", { method: "keydiff" }, { method: "keydiff", ratio: null }]) {
    assert.deepEqual(compressionOf(asked), half);
  }
  assert.deepEqual(readCompression("keydiff"), half);
});

Deno.test("compressionOf takes a method's own settings beside it, and null as absent", () => {
  const asked = compressionOf({ method: "snapkv", budget: 40, ratio: null, window_size: 16, min_tokens: 64 });
  assert.deepEqual([asked?.size, asked?.settings.window_size, asked?.minTokens], [{ budget: 40 }, 16, 64]);
});

Deno.test("compressionOf takes what the learned compressor was trained for, and names ratio or method otherwise", () => {
  const factors = uniformFactors(5, 2, false), compressors = [{ factor: 5, minGroups: 3, factors }];
  const asked = compressionOf({ method: "learned", ratio: 0.8 }, compressors);
  assert.deepEqual(asked, { ...compressionBy("learned", 0.8), settings: { min_groups: 3, ...factors } });
  assert.deepEqual(compressionOf("learned:0.8", compressors), asked);
  const refused = (wish: Parameters<typeof compressionOf>[0], trained: typeof compressors) => {
    try {
      compressionOf(wish, trained);
    } catch (error) {
      assert(error instanceof RequestError);
      return [error.code, error.param];
    }
    return assert.fail("it was taken");
  };
  const half = { method: "learned", ratio: 0.5 };
  assert.deepEqual(refused(half, compressors), ["invalid_value", "kv_compression.ratio"]);
  assert.deepEqual(refused("learned:0.5", compressors), ["invalid_value", "kv_compression"]);
  assert.deepEqual(refused(half, []), ["invalid_value", "kv_compression.method"]);
  assert.deepEqual(refused({ method: "learned", budget: 9 }, compressors), [
    ...["invalid_value", "kv_compression.budget"],
  ]);
  assert.deepEqual(refused({ ...half, min_groups: 1 }, compressors), [
    ...["unsupported_parameter", "kv_compression.min_groups"],
  ]);
});

Deno.test("compressionOf takes quantisation with a method, alone, and in the short form", () => {
  const quantise = { bits: 8, tail: "float" } as const;
  const packed = compressionBy("knorm", 0.5, { quantise });
  assert.deepEqual(compressionOf({ method: "knorm", ratio: 0.5, quantize: "int8" }), packed);
  assert.deepEqual(compressionOf("knorm:0.5:int8"), packed);
  const alone = compressionOf({ quantize: "int8" });
  assert.deepEqual([alone?.method, alone?.quantise], ["none", quantise]);
  assert.deepEqual(compressionOf("int8"), alone);
  assert.deepEqual(compressionOf("none:int8"), alone);
  assert.equal(compressionOf({ quantize: "int4", tail: "group" })?.quantise?.tail, "group");
});

Deno.test("compressionOf takes messages to protect, and none where the field is absent or empty", () => {
  const asked = compressionOf({ method: "snapkv", ratio: 0.5, protect: ["last_user", "system"] });
  assert.deepEqual(asked?.protect, ["system", "last_user"]);
  assert.deepEqual(compressionOf({ method: "mean-pool", ratio: 0.5, protect: [] })?.protect, []);
});

Deno.test("compressionOf names the field inside kv_compression, or the short form as a whole", () => {
  const param = (asked: Parameters<typeof compressionOf>[0]) => {
    try {
      compressionOf(asked);
    } catch (error) {
      assert(error instanceof RequestError);
      return error.param;
    }
    return assert.fail("it was taken");
  };
  assert.equal(param({ method: "snapkv", ratio: 0.5, window_size: 0 }), "kv_compression.window_size");
  assert.equal(param({ method: "knorm", ratio: 0.5, windows: 1 }), "kv_compression.windows");
  assert.equal(param("knorm:half"), "kv_compression");
  assert.equal(param({ method: "knorm", ratio: 0.5, quantize: "int2" }), "kv_compression.quantize");
  assert.equal(param({ method: "knorm", ratio: 0.5, protect: "system" }), "kv_compression.protect");
  assert.equal(param({ method: "knorm", ratio: 0.5, protect: ["user"] }), "kv_compression.protect");
  assert.equal(param("none:0.5"), "kv_compression");
  for (
    const [field, value] of Object.entries({
      ratio: 0.5,
      budget: 9,
      min_tokens: -5,
      protect: ["bogus"],
      rerotate: "yes",
      tail: "group",
      window_size: 8,
    })
  ) {
    assert.equal(param({ method: "none", [field]: value }), `kv_compression.${field}`);
  }
  for (const method of ["mean-pool", "look-m", "chunkkv"]) {
    assert.equal(param({ method, ratio: 0.5, protect: ["system"] }), "kv_compression.protect");
  }
  assert.equal(param({ quantize: "int8", tail: "whole" }), "kv_compression.tail");
});
