/** The isolate that owns the device. It may block as long as the device works: HTTP lives elsewhere. */
/// <reference lib="deno.worker" />
import { StartError } from "../core/errors.ts";
import { openModel } from "../model/directory.ts";
import { openBackend } from "./device.ts";
import type { CompressSequence, Engine, ForwardSequence } from "./engine.ts";
import { LocalEngine } from "./local.ts";
import { unparcel } from "./parcel.ts";
import type { EngineCall, EngineOptions, EngineReply, EngineRequest } from "./protocol.ts";

let engine: Engine | null = null;

async function start(options: EngineOptions): Promise<Engine> {
  const model = await openModel(options.modelDir, options.loadFormat, options.compressor);
  const backend = await openBackend(options, model);
  try {
    return new LocalEngine(backend, model, options);
  } catch (error) {
    backend.close();
    throw error;
  }
}

async function answer(body: EngineCall): Promise<unknown> {
  if (body.call === "start") {
    engine = await start(body.options);
    return engine.facts;
  }
  if (engine === null) throw new Error("the engine has not started");
  switch (body.call) {
    case "encode":
      return await engine.encode(body.images);
    case "forward":
      return await engine.forward(unparcel(body.sequences) as ForwardSequence[]);
    case "compress":
      return await engine.compress(unparcel(body.sequences) as CompressSequence[]);
    case "liveBytes":
      return await engine.liveBytes();
    case "close":
      return await engine.close();
  }
}

/** Steps run one after the other, however early the next one was handed over. */
let last: Promise<void> = Promise.resolve();

self.onmessage = (event: MessageEvent<EngineRequest>) => {
  last = last.then(() => reply(event.data));
};

async function reply({ id, body }: EngineRequest): Promise<void> {
  let reply: EngineReply;
  try {
    reply = { id, ok: true, value: await answer(body) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    reply = { id, ok: false, failure: { message, start: error instanceof StartError } };
  }
  self.postMessage(reply);
}
