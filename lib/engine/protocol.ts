/** Messages between the engine's client and its worker. Plain data: the channel may become a pipe. */
import type { CompressSequence, EncodeImage, ForwardSequence } from "./engine.ts";
import type { DeviceOptions } from "./device.ts";
import type { SizingOptions } from "./sizing.ts";

export interface EngineOptions extends SizingOptions, DeviceOptions {
  readonly modelDir: string;
  /** The compressor's file; null: the one in the model's directory, if any. */
  readonly compressor: string | null;
}

export type EngineCall =
  | { readonly call: "start"; readonly options: EngineOptions }
  | { readonly call: "encode"; readonly images: readonly EncodeImage[] }
  | { readonly call: "forward"; readonly sequences: readonly ForwardSequence[] }
  | { readonly call: "compress"; readonly sequences: readonly CompressSequence[] }
  | { readonly call: "liveBytes" }
  | { readonly call: "close" };

export interface EngineRequest {
  readonly id: number;
  readonly body: EngineCall;
}

/** `start` marks an error that is the user's to mend (StartError). */
export interface EngineFailure {
  readonly message: string;
  readonly start: boolean;
}

export type EngineReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly failure: EngineFailure };
