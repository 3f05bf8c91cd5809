import assert from "node:assert/strict";
import { UsageError } from "../../../lib/core/errors.ts";
import {
  readBytes,
  readChoice,
  readCompression,
  readDtype,
  readHost,
  readOrigin,
  readPolicy,
  readSeconds,
  readShare,
  readSwitch,
  readUrl,
  readWhole,
  readWindow,
} from "../../../lib/cli/values.ts";
import { compressionBy } from "../../support/compressions.ts";

function refuses(read: (text: string) => unknown, texts: readonly string[]): void {
  for (const text of texts) {
    assert.throws(
      () => read(text),
      (error) => error instanceof UsageError && !error.message.includes("\n"),
      text,
    );
  }
}

Deno.test("readBytes takes plain bytes and binary units in any case", () => {
  assert.equal(readBytes("4096"), 4096);
  assert.equal(readBytes("1KiB"), 1024);
  assert.equal(readBytes("512 mib"), 512 * 1024 ** 2);
  assert.equal(readBytes("1.5GiB"), 1.5 * 1024 ** 3);
  assert.equal(readBytes("7B"), 7);
});

Deno.test("readBytes refuses nothing, zero, decimal units and numbers beyond 2^53", () => {
  refuses(readBytes, ["", "0", "-1", "1MB", "1G", "KiB", "1e9", "9007199254740993GiB", "1.2.3MiB"]);
});

Deno.test("readBytes tells how to write a decimal unit", () => {
  assert.throws(() => readBytes("512MB"), /got "512MB": write 512MiB$/);
  assert.throws(() => readBytes("1.5 g"), /write 1\.5GiB$/);
  assert.throws(() => readBytes("lots"), /got "lots"$/);
});

Deno.test("readWindow takes items, tokens and milliseconds", () => {
  assert.deepEqual(readWindow("8:2048:5"), { items: 8, tokens: 2048, waitMs: 5 });
  assert.deepEqual(readWindow("1:1:0.5"), { items: 1, tokens: 1, waitMs: 0.5 });
  refuses(readWindow, [
    "8:2048",
    "8:2048:5:1",
    "0:2048:5",
    "8:0:5",
    "8:2048:-1",
    "8:2048:60001",
    "a:b:c",
    "",
  ]);
});

Deno.test("readCompression takes none, a method, and a method with a ratio that fits it", () => {
  assert.equal(readCompression("none"), null);
  assert.deepEqual(readCompression("knorm"), compressionBy("knorm", 0.5));
  assert.deepEqual(readCompression("streaming:.25"), compressionBy("streaming", 0.25));
  assert.deepEqual(readCompression("mean-pool:0.8"), compressionBy("mean-pool", 0.8));
});

Deno.test("readCompression takes codes of few bits behind a method, its ratio, or alone", () => {
  const quantise = { bits: 8, tail: "float" } as const;
  assert.deepEqual(readCompression("knorm:0.25:int8"), compressionBy("knorm", 0.25, { quantise }));
  assert.deepEqual(readCompression("knorm:int8"), compressionBy("knorm", 0.5, { quantise }));
  assert.deepEqual(readCompression("int4")?.quantise?.bits, 4);
  assert.deepEqual(readCompression("none:int4"), readCompression("int4"));
  refuses(readCompression, ["none:0.5:int8", "knorm:int8:0.5", "knorm:0.5:int2", "knorm:0.5:int8:int8"]);
});

Deno.test("readCompression refuses unknown methods and ratios that do not fit", () => {
  refuses(readCompression, [
    "",
    "none:0.5",
    "knrom",
    "knorm:",
    "knorm:1",
    "knorm:0",
    "knorm:-0.5",
    "knorm:0.5:1",
  ]);
  refuses(readCompression, ["mean-pool:0.7"]);
  assert.throws(() => readCompression("knorm:-1"), /got "knorm:-1"$/);
});

Deno.test("readCompression takes auto, which compresses when it pays or memory is short, with or without a ratio", () => {
  const auto = compressionBy("keydiff", 0.5, { underPressure: true, minTokens: 256 });
  assert.deepEqual(readCompression("auto"), { ...auto, adaptive: true });
  assert.deepEqual(readCompression("auto:0.75"), { ...auto, size: { ratio: 0.75 } });
  refuses(readCompression, ["auto:", "auto:1", "auto:0.5:1", "Auto"]);
});

Deno.test("readPolicy takes every policy and says what it expected", () => {
  assert.deepEqual(readPolicy("dynamic"), { kind: "dynamic" });
  assert.deepEqual(readPolicy("fcfs"), { kind: "fcfs" });
  assert.deepEqual(readPolicy("static:p2c3d8"), { kind: "static", prefill: 2, compress: 3, decode: 8 });
  refuses(readPolicy, ["", "static", "static:p0c1d1", "p1c1d8"]);
  assert.throws(() => readPolicy("p1c1d8"), /static:pXcYdZ .*, got "p1c1d8"$/);
});

Deno.test("readSwitch takes on and off alone", () => {
  assert.deepEqual([readSwitch("on"), readSwitch("off")], [true, false]);
  refuses(readSwitch, ["", "true", "1", "ON"]);
});

Deno.test("readDtype takes auto, a format, and a format with the family of its products", () => {
  assert.equal(readDtype("auto"), "stored");
  assert.deepEqual(readDtype("int8"), { format: "int8", family: "dot" });
  assert.deepEqual(readDtype("int4-dot"), { format: "int4", family: "dot" });
  assert.deepEqual(readDtype("int4-exact"), { format: "int4", family: "exact" });
  refuses(readDtype, ["", "f16", "int2", "int8-", "int8-fast", "INT8", "auto-exact", "int8-exact-dot"]);
});

Deno.test("readWhole keeps to its bounds and to digits", () => {
  const read = readWhole(1, 10);
  assert.equal(read("10"), 10);
  refuses(read, ["0", "11", "1.5", "1e1", " 1", "", "ten"]);
});

Deno.test("readSeconds returns milliseconds", () => {
  assert.equal(readSeconds("30"), 30_000);
  assert.equal(readSeconds("0.25"), 250);
  refuses(readSeconds, ["", "-1", "30s", "86401"]);
});

Deno.test("readHost takes names and addresses and strips the brackets of IPv6", () => {
  for (const text of ["localhost", "127.0.0.1", "cdn.example.org", "::1"]) assert.equal(readHost(text), text);
  assert.equal(readHost("[::1]"), "::1");
  refuses(readHost, ["", "http://x", "host:80", "a b", "x/y", "*"]);
});

Deno.test("readOrigin takes a star and bare origins", () => {
  assert.equal(readOrigin("*"), "*");
  assert.equal(readOrigin("https://example.org/"), "https://example.org");
  assert.equal(readOrigin("http://localhost:3000"), "http://localhost:3000");
  refuses(readOrigin, ["example.org", "https://example.org/page", "null", ""]);
});

Deno.test("readChoice names the choices when it refuses", () => {
  assert.equal(readChoice(["f16", "f32"])("f32"), "f32");
  assert.throws(() => readChoice(["f16", "f32"])("f64"), /expected f16 or f32, got "f64"/);
});

Deno.test("readUrl takes web addresses and drops the last slash", () => {
  assert.equal(readUrl("http://127.0.0.1:8000/"), "http://127.0.0.1:8000");
  refuses(readUrl, ["ftp://x", "127.0.0.1:8000", ""]);
});

Deno.test("readShare takes numbers from 0 to 1", () => {
  assert.deepEqual(["0", "1", ".25", "0.5"].map(readShare), [0, 1, 0.25, 0.5]);
  refuses(readShare, ["", "-0.1", "1.01", "half", "1e-1", "50%"]);
});
