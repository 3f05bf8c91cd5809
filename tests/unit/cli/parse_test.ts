import assert from "node:assert/strict";
import { UsageError } from "../../../lib/core/errors.ts";
import { EVAL_FLAGS, helpText, SERVE_FLAGS } from "../../../lib/cli/flags.ts";
import { environmentName, flagName, parseFlags } from "../../../lib/cli/parse.ts";

function parse(args: readonly string[], env: Record<string, string> = {}) {
  return parseFlags(SERVE_FLAGS, args, (name) => env[name]).values;
}

function refusal(args: readonly string[], env: Record<string, string> = {}): string {
  try {
    parse(args, env);
  } catch (error) {
    assert(error instanceof UsageError, String(error));
    assert(!error.message.includes("\n"), "one line");
    return error.message;
  }
  assert.fail(`accepted ${args.join(" ")}`);
}

Deno.test("parseFlags without arguments gives every default", () => {
  const values = parse([]);
  assert.equal(values.model, null);
  assert.equal(values.host, "127.0.0.1");
  assert.equal(values.port, 8000);
  assert.equal(values.kvCacheDtype, "f16");
  assert.equal(values.kvCompress, null);
  assert.equal(values.shutdownTimeout, 30_000);
  assert.deepEqual(values.apiKey, []);
});

Deno.test("parseFlags reads both spellings of a value, and the last one counts", () => {
  assert.equal(parse(["--port", "1", "--port=2"]).port, 2);
  assert.equal(parse(["--kv-memory=512MiB"]).kvMemory, 512 * 1024 ** 2);
  assert.deepEqual(parse(["--decode-window", "8:8:0"]).decodeWindow, { items: 8, tokens: 8, waitMs: 0 });
});

Deno.test("parseFlags collects repeatable flags and splits them at commas", () => {
  assert.deepEqual(parse(["--api-key", "a", "--api-key", "b, c"]).apiKey, ["a", "b", "c"]);
  assert.deepEqual(parse([], { FASTCACHE_API_KEY: "a,b" }).apiKey, ["a", "b"]);
});

Deno.test("parseFlags prefers a flag to its environment twin, and an empty twin counts as unset", () => {
  assert.equal(parse([], { FASTCACHE_PORT: "9" }).port, 9);
  assert.equal(parse(["--port", "7"], { FASTCACHE_PORT: "9" }).port, 7);
  assert.equal(parse([], { FASTCACHE_PORT: "" }).port, 8000);
});

Deno.test("parseFlags reads an environment twin for every flag", () => {
  const samples: Record<keyof typeof SERVE_FLAGS, string> = {
    loadFormat: "dummy",
    model: "x",
    backend: "wasm",
    threads: "3",
    dtype: "int8",
    host: "::1",
    port: "1",
    servedModelName: "n",
    maxModelLen: "5",
    maxNumSeqs: "6",
    defaultMaxTokens: "7",
    kvMemory: "8MiB",
    kvCacheDtype: "f32",
    shadowRate: "0.1",
    kvCompress: "knorm:0.5",
    policy: "static:p2c2d8",
    itlTarget: "50",
    maxWaiting: "9",
    maxWaitingTokens: "10",
    queueTimeout: "11",
    readerTimeout: "12",
    pool: "contiguous",
    prefixCache: "off",
    imageCache: "1MiB",
    planTrace: "trace.jsonl",
    encodeWindow: "1:1:1",
    prefillWindow: "1:1:1",
    compressWindow: "1:1:1",
    decodeWindow: "1:1:1",
    apiKey: "k",
    allowedOrigins: "*",
    allowedMediaDomains: "h",
    shutdownTimeout: "1",
  };
  const defaults = parse([]) as Record<string, unknown>;
  for (const [key, text] of Object.entries(samples)) {
    const read = parse([], { [environmentName(key)]: text }) as Record<string, unknown>;
    assert.notDeepEqual(read[key], defaults[key], environmentName(key));
  }
});

Deno.test("parseFlags refuses unknown flags and names a close one", () => {
  assert.match(refusal(["--prot", "1"]), /^unknown flag --prot; see --help$/);
  assert.match(
    refusal(["--kv-memry", "1"]),
    /unknown flag --kv-memry \(did you mean --kv-memory\?\); see --help$/,
  );
  assert.match(refusal(["-p", "1"]), /^unknown flag -p; see --help$/);
});

Deno.test("parseFlags refuses a missing value, a stray argument and --", () => {
  assert.match(refusal(["--port"]), /^--port needs a value: PORT$/);
  assert.match(refusal(["8000"]), /unexpected argument "8000"/);
  assert.match(refusal(["--"]), /unexpected argument/);
});

Deno.test("parseFlags refuses an empty key instead of opening the server", () => {
  assert.match(refusal(["--api-key", ""]), /^--api-key: must not be empty$/);
  assert.match(refusal(["--api-key", "a,"]), /^--api-key: must not be empty$/);
});

Deno.test("parseFlags names the flag or the variable whose value is bad", () => {
  assert.match(refusal(["--port", "http"]), /^--port: expected a whole number from 0 to 65535, got "http"$/);
  assert.match(refusal([], { FASTCACHE_KV_MEMORY: "lots" }), /^FASTCACHE_KV_MEMORY: expected bytes/);
});

Deno.test("parseFlags reports --help and --version and still reads the rest", () => {
  assert.equal(parseFlags(SERVE_FLAGS, ["--help", "--port", "1"], () => undefined).asked, "help");
  assert.equal(parseFlags(SERVE_FLAGS, ["-h"], () => undefined).asked, "help");
  assert.equal(parseFlags(SERVE_FLAGS, ["--version"], () => undefined).asked, "version");
  assert.equal(parseFlags(SERVE_FLAGS, [], () => undefined).asked, null);
});

Deno.test("helpText names every flag of every command with its default", () => {
  const text = helpText();
  for (const [key, flag] of Object.entries(EVAL_FLAGS)) {
    assert(text.includes(`--${flagName(key)} ${flag.metavar}`), key);
    assert(text.includes(`[${flag.shown}]`), key);
  }
});
