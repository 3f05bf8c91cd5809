/** Puts the program together: socket, model, engine, scheduler. `main.ts` and the end-to-end tests start it here. */
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createApp } from "../api/app.ts";
import { serve } from "../api/serve.ts";
import { Service } from "../api/service.ts";
import { AssertionError } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import { systemClock, unixSeconds } from "../core/clock.ts";
import { type Fields, log } from "../core/log.ts";
import { systemRandom } from "../core/random.ts";
import { startEngine } from "../engine/client.ts";
import type { ImagePreparer } from "../image/image.ts";
import { startPreparer } from "../image/preparer.ts";
import { openModel } from "../model/directory.ts";
import { readText } from "../model/json.ts";
import { openText } from "../text/processor.ts";
import { ContiguousPool, KvPool } from "../../pool/mod.ts";
import { createScheduler, type MeasuredScheduler } from "../../scheduler/mod.ts";
import {
  checkDefaultMaxTokens,
  choosePrefixCache,
  chooseWindows,
  contextLimit,
  fitPool,
  pictureWarning,
  trainedDefault,
} from "./choose.ts";
import { guarded } from "../../scheduler/shadow.ts";
import { chooseDevice } from "./device.ts";
import { chosenLines } from "./chosen.ts";
import type { ServeValues } from "./flags.ts";
import { PlanTrace } from "./plan_trace.ts";

/** The model that is served without --model, and its name in the API. */
const DEFAULT_MODEL_DIR = fileURLToPath(new URL("../../deploy/model", import.meta.url));
const DEFAULT_MODEL_NAME = "fastcache-default";
/** Answers that have ended still have to be read by their clients. */
const READ_MS = 1_000;

/** A server that takes requests. */
export interface Running {
  readonly url: string;
  readonly scheduler: MeasuredScheduler;
  /**
   * Refuses new requests, lets running ones finish for `deadlineMs`, cancels the rest, and gives everything back.
   * To be called once.
   */
  stop(deadlineMs: number): Promise<void>;
}

/**
 * Listens, loads the model, and takes requests from then on; until it does, requests are answered 503. `say` gets a
 * line for each thing that was chosen by itself, `accessLog` the fields of each request. Throws StartError, or
 * UsageError for a flag that this model refuses.
 */
export async function compose(
  options: ServeValues,
  say: (line: string) => void,
  accessLog: (fields: Fields) => void = (fields) => log.note("request", fields),
): Promise<Running> {
  const service = new Service();
  const app = createApp({
    service,
    options: {
      apiKeys: options.apiKey,
      allowedOrigins: options.allowedOrigins,
      allowedMediaHosts: options.allowedMediaDomains,
    },
    clock: systemClock,
    random: systemRandom,
    accessLog,
  });
  const http = serve(
    (request) => app.fetch(request),
    { hostname: options.host, port: options.port },
    systemClock,
  );
  try {
    const served = await load(options, service, say);
    return {
      url: http.url,
      scheduler: served.scheduler,
      async stop(deadlineMs) {
        const deadline = systemClock.now() + deadlineMs;
        service.beginDrain();
        await served.scheduler.drain(deadlineMs);
        await http.close(Math.max(READ_MS, deadline - systemClock.now()));
        await served.close();
      },
    };
  } catch (error) {
    await http.close(0);
    throw error;
  }
}

/** Shapes alone say nothing of words: a directory without a tokenizer takes the default model's. */
async function textDirectory({ loadFormat }: ServeValues, dir: string): Promise<string> {
  if (loadFormat === "auto" || await readText(`${dir}/tokenizer.json`) !== null) return dir;
  return DEFAULT_MODEL_DIR;
}

/** Everything behind the API. */
interface Served {
  readonly scheduler: MeasuredScheduler;
  close(): Promise<void>;
}

async function load(options: ServeValues, service: Service, say: (line: string) => void): Promise<Served> {
  const begun = systemClock.now();
  const prefixCache = choosePrefixCache(options);
  const modelDir = options.model ?? DEFAULT_MODEL_DIR;
  if (options.model !== null) await requireDirectory(options.model);
  const model = await openModel(modelDir, options.loadFormat, options.compressor);
  const compression = trainedDefault(options.kvCompress, model.compressors);
  const text = await openText(await textDirectory(options, model.dir), model.config);
  const contextMax = contextLimit(model.config.text, options.maxModelLen);
  checkDefaultMaxTokens(options.defaultMaxTokens, contextMax);
  const device = await chooseDevice(options, say);
  const engine = await startEngine({
    modelDir,
    loadFormat: options.loadFormat,
    compressor: options.compressor,
    ...device,
    kvDtype: options.kvCacheDtype,
    kvBytes: options.kvMemory,
    maxNumSeqs: options.maxNumSeqs,
    maxModelLen: contextMax,
    imageCacheBytes: options.imageCache,
  });
  const { facts } = engine;
  const images = model.images === null ? NO_PICTURES : startPreparer(model.images);
  const trace = options.planTrace === null ? null : PlanTrace.open(options.planTrace);
  const close = async () => {
    trace?.close();
    await images.close();
    await engine.close();
  };
  try {
    const maxModelLen = fitPool(contextMax, options.maxModelLen, facts);
    checkDefaultMaxTokens(options.defaultMaxTokens, maxModelLen);
    const windows = chooseWindows(options, facts);
    const imageTokens = model.config.vision?.imageTokens ?? 0;
    const defaultMaxTokens = options.defaultMaxTokens ?? model.generation.maxNewTokens;
    const modelName = options.servedModelName ??
      (options.model === null ? DEFAULT_MODEL_NAME : basename(resolve(modelDir)));
    const contiguous = options.pool === "contiguous";
    const bare = createScheduler({
      engine,
      text,
      images,
      model: {
        maxModelLen,
        eosTokenIds: model.config.eosTokenIds,
        imageTokenId: model.config.imageTokenId,
        imageTokens,
      },
      defaults: { maxTokens: defaultMaxTokens, compression },
      windows,
      limits: {
        maxNumSeqs: options.maxNumSeqs,
        waitingRequestsMax: options.maxWaiting,
        waitingTokensMax: options.maxWaitingTokens,
        queueTimeoutMs: options.queueTimeout,
        readerTimeoutMs: options.readerTimeout,
      },
      policy: options.policy,
      itlTargetMs: options.itlTarget,
      pool: contiguous ? new ContiguousPool(facts) : new KvPool(facts, { prefixCache }),
      clock: systemClock,
      ...(trace === null ? {} : { onPlan: (record) => trace.write(record) }),
    });
    const scheduler = guarded(bare, {
      rate: options.shadowRate,
      random: systemRandom,
      compression,
      compressors: facts.compressors,
    });
    service.open({
      scheduler,
      model: {
        name: modelName,
        root: modelName,
        created: unixSeconds(),
        maxModelLen,
        modalities: model.config.vision === null ? ["text"] : ["text", "image"],
        vocabSize: model.config.text.vocab,
        imageTokenId: model.config.imageTokenId,
        defaults: model.generation,
        compressors: facts.compressors,
      },
    });
    const lines = chosenLines({
      facts,
      modelName,
      architecture: model.config.architecture,
      maxModelLen,
      maxNumSeqs: options.maxNumSeqs,
      defaultMaxTokens,
      compression,
      windows,
      policy: options.policy,
      itlTargetMs: options.itlTarget,
      prefixCache,
      contiguous,
      loadMs: systemClock.now() - begun,
    });
    for (const line of lines) say(line);
    const warning = pictureWarning(text, imageTokens, maxModelLen);
    if (warning !== null) say(warning);
    return {
      scheduler,
      async close() {
        await scheduler.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A name from a hub is the likely mistake; the message says what is missing. */
async function requireDirectory(path: string): Promise<void> {
  const found = await Deno.stat(path).catch(() => null);
  if (found?.isDirectory) return;
  throw new StartError(
    `--model ${path}: there is no such directory; models are not downloaded by name, give the folder of one that is here`,
  );
}

/** A text-only model's requests are refused before any picture is looked at. */
const NO_PICTURES: ImagePreparer = {
  inspect() {
    throw new AssertionError("a text-only model looks at no pictures");
  },
  prepare: () => Promise.reject(new AssertionError("a text-only model prepares no pictures")),
  close: () => Promise.resolve(),
};
