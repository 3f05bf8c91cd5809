/** The flags of every command. */
import {
  IMAGE_CACHE_BYTES,
  READER_TIMEOUT_MS,
  WAITING_REQUESTS_MAX,
  WAITING_TOKENS_MAX,
} from "../core/limits.ts";
import { RATIO_DEFAULT } from "../engine/compress/settings.ts";
import type { WeightStorage } from "../engine/device.ts";
import { FACTOR_MAX } from "../model/compressor.ts";
import type { LoadFormat } from "../model/directory.ts";
import type { KvDtype } from "../ops/kv.ts";
import type { Compression } from "../../scheduler/messages.ts";
import { ITL_TARGET_MS } from "../../scheduler/mod.ts";
import { DYNAMIC, type Policy } from "../../scheduler/policy.ts";
import type { WindowLimits } from "../../scheduler/window.ts";
import { flagHelp, type FlagValues, many, one } from "./parse.ts";
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
  readText,
  readUrl,
  readWhole,
  readWindow,
} from "./values.ts";

function windowFlag(stage: string) {
  return one<WindowLimits | null>({
    metavar: "ITEMS:TOKENS:WAIT_MS",
    help:
      `largest batch of the ${stage} stage and how long its first member waits for company while others use the device`,
    fallback: null,
    shown: "chosen at start",
  }, readWindow);
}

export type BackendChoice = "auto" | "webgpu" | "wasm";

/** `start`. null means: chosen at start and printed. */
export const SERVE_FLAGS = {
  model: one<string | null>(
    {
      metavar: "DIR",
      help: "Hugging Face model directory",
      fallback: null,
      shown: "the embedded default model",
    },
    readText,
  ),
  loadFormat: one<LoadFormat>(
    {
      metavar: "auto|dummy",
      help:
        "dummy makes random weights of the shapes in config.json, to measure speed and memory without weights",
      fallback: "auto",
    },
    readChoice<LoadFormat>(["auto", "dummy"]),
  ),
  backend: one<BackendChoice>(
    {
      metavar: "auto|webgpu|wasm",
      help: "what computes; auto is webgpu where there is a real GPU, else wasm",
      fallback: "auto",
    },
    readChoice<BackendChoice>(["auto", "webgpu", "wasm"]),
  ),
  threads: one<number | null>(
    {
      metavar: "N",
      help: "threads of the wasm backend",
      fallback: null,
      shown: "every core, at most 8",
    },
    readWhole(1, 64),
  ),
  dtype: one<WeightStorage>(
    {
      metavar: "auto|int8|int4[-exact|-dot]",
      help: "weights as stored, or quantised at load (wasm); dot multiplies integers, exact dequantises",
      fallback: "stored",
      shown: "auto",
    },
    readDtype,
  ),
  host: one({ metavar: "HOST", help: "address to listen on", fallback: "127.0.0.1" }, readHost),
  port: one(
    { metavar: "PORT", help: "port to listen on, 0 for any free one", fallback: 8000 },
    readWhole(0, 65_535),
  ),
  servedModelName: one<string | null>(
    { metavar: "NAME", help: "name of the model in the API", fallback: null, shown: "the directory's name" },
    readText,
  ),
  maxModelLen: one<number | null>(
    { metavar: "TOKENS", help: "longest prompt plus completion", fallback: null, shown: "the model's own" },
    readWhole(2, 10_000_000),
  ),
  maxNumSeqs: one(
    { metavar: "N", help: "sequences that generate at one time", fallback: 32 },
    readWhole(1, 4096),
  ),
  defaultMaxTokens: one<number | null>(
    {
      metavar: "TOKENS",
      help: "completion limit of requests that name none",
      fallback: null,
      shown: "the model's own, else what fits",
    },
    readWhole(1, 10_000_000),
  ),
  kvMemory: one<number | null>(
    {
      metavar: "SIZE",
      help:
        "KV pool, bytes or with KiB, MiB, GiB; while a prompt is compressed it holds the prompt and its shorter copy",
      fallback: null,
      shown: "chosen at start",
    },
    readBytes,
  ),
  kvCacheDtype: one<KvDtype>(
    { metavar: "f16|f32", help: "how keys and values are stored", fallback: "f16" },
    readChoice<KvDtype>(["f16", "f32"]),
  ),
  kvCompress: one<Compression | null>(
    {
      metavar: "METHOD[:RATIO][:int8|int4]",
      help:
        `compression of requests that name none; the ratio is the fraction removed, ${RATIO_DEFAULT} where none is given`,
      fallback: null,
      shown: "none",
    },
    readCompression,
  ),
  shadowRate: one(
    {
      metavar: "SHARE",
      help:
        "share of compressed requests answered again without compression when the server is idle, to compare",
      fallback: 0,
    },
    readShare,
  ),
  policy: one<Policy>(
    {
      metavar: "dynamic|fcfs|static:pXcYdZ",
      help: "how the next device step is chosen; the others are there to compare with",
      fallback: DYNAMIC,
      shown: "dynamic",
    },
    readPolicy,
  ),
  itlTarget: one(
    {
      metavar: "MS",
      help: "longest gap between two tokens of a stream that prompts of others may make",
      fallback: ITL_TARGET_MS,
    },
    readWhole(1, 600_000),
  ),
  maxWaiting: one(
    {
      metavar: "N",
      help: "requests that may wait beside the running ones; more are answered 429",
      fallback: WAITING_REQUESTS_MAX,
    },
    readWhole(1, 4096),
  ),
  maxWaitingTokens: one(
    {
      metavar: "N",
      help: "prompt tokens that may wait beside the running ones; more are answered 429",
      fallback: WAITING_TOKENS_MAX,
    },
    readWhole(1, 100_000_000),
  ),
  queueTimeout: one<number | null>(
    {
      metavar: "SECONDS",
      help: "longest wait in the queue; past it a request is answered 503",
      fallback: null,
      shown: "none",
    },
    readSeconds,
  ),
  readerTimeout: one(
    {
      metavar: "SECONDS",
      help: "how long a stream that nobody reads keeps its memory",
      fallback: READER_TIMEOUT_MS,
      shown: `${READER_TIMEOUT_MS / 1000}`,
    },
    readSeconds,
  ),
  pool: one<"paged" | "contiguous">(
    {
      metavar: "paged|contiguous",
      help:
        "how the KV pool is given out; contiguous reserves prompt and max_tokens in one run and shares nothing, to compare with",
      fallback: "paged",
    },
    readChoice<"paged" | "contiguous">(["paged", "contiguous"]),
  ),
  prefixCache: one<boolean | null>(
    {
      metavar: "on|off",
      help: "keep prompts' keys and values for prompts that begin alike",
      fallback: null,
      shown: "on, off with --pool contiguous",
    },
    readSwitch,
  ),
  imageCache: one<number>(
    {
      metavar: "SIZE",
      help: "features of pictures kept for requests that show them again",
      fallback: IMAGE_CACHE_BYTES,
      shown: `${IMAGE_CACHE_BYTES / 1024 ** 2} MiB`,
    },
    readBytes,
  ),
  planTrace: one<string | null>(
    {
      metavar: "FILE",
      help: "writes every decision of the scheduler as a line of JSON",
      fallback: null,
      shown: "nowhere",
    },
    readText,
  ),
  compressor: one<string | null>(
    {
      metavar: "FILE",
      help: "weights of the method learned",
      fallback: null,
      shown: "compressor.safetensors of the model directory, where there is one",
    },
    readText,
  ),
  encodeWindow: windowFlag("encode"),
  prefillWindow: windowFlag("prefill"),
  compressWindow: windowFlag("compress"),
  decodeWindow: windowFlag("decode"),
  apiKey: many({ metavar: "KEY", help: "bearer keys that may use /v1", shown: "open to all" }, readText),
  allowedOrigins: many({ metavar: "ORIGIN", help: "origins of web pages that may call, or *" }, readOrigin),
  allowedMediaDomains: many({ metavar: "HOST", help: "hosts that pictures may be fetched from" }, readHost),
  shutdownTimeout: one(
    {
      metavar: "SECONDS",
      help: "how long running requests may finish after SIGTERM or Ctrl-C",
      fallback: 30_000,
      shown: "30",
    },
    readSeconds,
  ),
} as const;

export type ServeValues = FlagValues<typeof SERVE_FLAGS>;

/** `eval`: its own flags, and those of `start` for the server that it starts without --url. */
export const EVAL_FLAGS = {
  url: one<string | null>(
    { metavar: "URL", help: "a running server", fallback: null, shown: "starts one on a free port" },
    readUrl,
  ),
  set: one<string | null>(
    {
      metavar: "DIR",
      help: "folder with questions.jsonl and images",
      fallback: null,
      shown: "deploy/eval-set",
    },
    readText,
  ),
  concurrency: one({ metavar: "N", help: "questions in flight", fallback: 16 }, readWhole(1, 1024)),
  limit: one<number | null>(
    { metavar: "N", help: "an evenly spread subset of about N questions", fallback: null, shown: "all" },
    readWhole(1, 1_000_000),
  ),
  out: one<string | null>(
    { metavar: "FILE", help: "writes every answer as a line of JSON", fallback: null, shown: "nowhere" },
    readText,
  ),
  ...SERVE_FLAGS,
} as const;

export type EvalValues = FlagValues<typeof EVAL_FLAGS>;

/** `train-compressor`. */
export const TRAIN_FLAGS = {
  model: SERVE_FLAGS.model,
  backend: SERVE_FLAGS.backend,
  threads: SERVE_FLAGS.threads,
  images: one<string>(
    { metavar: "DIR", help: "pictures to train on", fallback: "", shown: "must be given" },
    readText,
  ),
  prompts: one<string | null>(
    {
      metavar: "FILE",
      help: "questions: lines of JSON with images and question, or plain lines asked about every picture",
      fallback: null,
      shown: "questions.jsonl of the pictures' folder, else one question",
    },
    readText,
  ),
  factor: many(
    { metavar: "N", help: "tokens that become one; several are trained one after the other", shown: "5" },
    readWhole(2, FACTOR_MAX),
  ),
  textFactors: many(
    {
      metavar: "N",
      help: "tokens of text that become one, a number a layer; 1 leaves them as they are",
      shown: "the factor in every layer",
    },
    readWhole(1, FACTOR_MAX),
  ),
  imageFactors: many(
    { metavar: "N", help: "the same of pictures", shown: "the factor in every layer" },
    readWhole(1, FACTOR_MAX),
  ),
  steps: one(
    { metavar: "N", help: "steps of gradient descent a factor", fallback: 1500 },
    readWhole(1, 1_000_000),
  ),
  samples: one(
    {
      metavar: "N",
      help: "most questions taken; what the model shows for each stays in memory",
      fallback: 5000,
    },
    readWhole(1, 1_000_000),
  ),
  seed: one({ metavar: "N", help: "decides what each step sees", fallback: 1 }, readWhole(0, 1_000_000)),
  out: one<string | null>(
    {
      metavar: "FILE",
      help: "where the weights go, beside other factors' that it has",
      fallback: null,
      shown: "compressor.safetensors of the model directory",
    },
    readText,
  ),
  curves: one<string | null>(
    { metavar: "FILE", help: "appends losses and agreement as CSV", fallback: null, shown: "nowhere" },
    readText,
  ),
} as const;

export type TrainValues = FlagValues<typeof TRAIN_FLAGS>;

/** What `--help` prints. */
export function helpText(): string {
  const { url, set, concurrency, limit, out } = EVAL_FLAGS;
  return `fastcache: serves a vision-language model over an OpenAI-compatible API

fastcache [start] [flags]   serve (the default)
fastcache doctor            what this machine can compute with, how fast, and which backend start takes
fastcache eval [flags]      accuracy on an evaluation set, by question type; with --sweep of every compression method
fastcache train-compressor [flags]   trains the weights of the method learned
fastcache help              this text; --version prints the version

start:
${flagHelp(SERVE_FLAGS)}

eval (and the flags of start, for the server that it starts):
${flagHelp({ url, set, concurrency, limit, out })}

train-compressor:
${flagHelp(TRAIN_FLAGS)}

Every flag has an environment twin: --max-model-len is FASTCACHE_MAX_MODEL_LEN. A flag wins over its twin;
repeatable ones take commas.`;
}
