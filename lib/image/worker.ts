/** Decodes, resizes and normalises pictures in a thread of its own; the other end is `preparer.ts`. */
import { type ErrorCode, RequestError } from "../core/errors.ts";
import { decodePicture } from "./decode.ts";
import type { ImageProcessorConfig, PreparedImage } from "./image.ts";
import { preprocess } from "./preprocess/mod.ts";

/** One picture to prepare. The file's bytes are transferred. */
export interface PrepareJob {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly config: ImageProcessorConfig;
}

/** The answer to one job. The pixels are transferred. */
export type PrepareResult =
  | { readonly ok: true; readonly image: PreparedImage }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** The part of the worker's global scope that is used here; the library types describe the main thread's only. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<PrepareJob>) => void) | null;
  postMessage(message: PrepareResult, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = async ({ data: { bytes, config } }) => {
  try {
    const image = preprocess(await decodePicture(bytes), config);
    scope.postMessage({ ok: true, image }, [image.pixels.buffer as ArrayBuffer]);
  } catch (error) {
    // Anything that is not the picture's fault ends this thread, and the other end notices.
    if (!(error instanceof RequestError)) throw error;
    scope.postMessage({ ok: false, code: error.code, message: error.message }, []);
  }
};
