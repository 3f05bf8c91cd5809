/** Messages between the engine's client and its worker. Plain data: the channel may become a pipe. */
import type { EncodeImage } from "./engine.ts";
import type { DeviceOptions } from "./device.ts";
import type { Parcel } from "./parcel.ts";
import type { LoadFormat } from "../model/directory.ts";
import type { SizingOptions } from "./sizing.ts";

export interface EngineOptions extends SizingOptions, DeviceOptions {
  readonly modelDir: string;
  readonly loadFormat: LoadFormat;
  /** The compressor's file; without it the one in the model's directory, if any. */
  readonly compressor?: string | null;
}

export type EngineCall =
  | { readonly call: "start"; readonly options: EngineOptions }
  | { readonly call: "encode"; readonly images: readonly EncodeImage[] }
  /** Sequences are in the parcel: ForwardSequence[], CompressSequence[]. */
  | { readonly call: "forward"; readonly sequences: Parcel }
  | { readonly call: "compress"; readonly sequences: Parcel }
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
