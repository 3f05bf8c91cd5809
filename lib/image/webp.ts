import createDecoder from "@jsquash/webp/codec/dec/webp_dec.js";
import decoderCode from "@jsquash/webp/codec/dec/webp_dec.wasm" with { type: "bytes" };
import type { Picture } from "./image.ts";
import { orient } from "./orient.ts";
import { parseError } from "./parse_error.ts";
import { withoutAlpha } from "./rgba.ts";
import { type CodecFactory, type RgbaPixels, WasmCodec } from "./wasm_codec.ts";
import {
  readWebpHeader,
  readWebpOrientation,
  uint24,
  type WebpChunk,
  webpChunks,
  webpFileChunks,
} from "./webp_header.ts";

interface WebpDecoder {
  decode(bytes: Uint8Array): RgbaPixels | null;
}

const codec = new WasmCodec(createDecoder as CodecFactory<WebpDecoder>, decoderCode);

const FRAME_HEADER_BYTES = 16;

/**
 * Lossy and lossless WebP by libwebp; of an animation the first frame on its canvas (black where the frame does not
 * reach). Upright. Throws RequestError `image_parse_error`.
 */
export async function decodeWebp(bytes: Uint8Array): Promise<Picture> {
  const { width, height, animated } = readWebpHeader(bytes);
  const stored = animated ? await firstFrame(bytes, width, height) : await still(bytes, width, height);
  return orient(stored, readWebpOrientation(bytes));
}

async function still(file: Uint8Array, width: number, height: number): Promise<Picture> {
  const { pixels } = await codec.decode(width * height, (decoder) => decoder.decode(file));
  if (!pixels) throw parseError("the WebP is damaged or truncated");
  if (pixels.width !== width || pixels.height !== height) {
    throw parseError("the WebP's size is not what its header says");
  }
  return withoutAlpha(pixels.data, width, height);
}

async function firstFrame(bytes: Uint8Array, width: number, height: number): Promise<Picture> {
  const frame = webpFileChunks(bytes).find(({ type }) => type === "ANMF")?.data;
  if (!frame || frame.length < FRAME_HEADER_BYTES) throw parseError("the WebP has no whole frame");
  const left = uint24(frame, 0) * 2;
  const top = uint24(frame, 3) * 2;
  const frameWidth = uint24(frame, 6) + 1;
  const frameHeight = uint24(frame, 9) + 1;
  if (left + frameWidth > width || top + frameHeight > height) {
    throw parseError("the WebP's frame exceeds its canvas");
  }
  const picture = await still(stillFile(frame, frameWidth, frameHeight), frameWidth, frameHeight);
  if (frameWidth === width && frameHeight === height) return picture;
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < frameHeight; y++) {
    const row = picture.rgb.subarray(y * frameWidth * 3, (y + 1) * frameWidth * 3);
    rgb.set(row, ((top + y) * width + left) * 3);
  }
  return { width, height, rgb };
}

/** Wraps a frame's chunks as a file of one picture, which libwebp's plain decoder takes. */
function stillFile(frame: Uint8Array, width: number, height: number): Uint8Array {
  const chunks = webpChunks(frame, FRAME_HEADER_BYTES).toArray();
  const extended = new Uint8Array(10);
  const alpha = chunks.some(({ type }) => type === "ALPH" || type === "VP8L");
  extended[0] = alpha ? 0x10 : 0;
  new DataView(extended.buffer).setUint32(4, width - 1, true);
  extended.set([(height - 1) & 0xff, (height - 1) >> 8 & 0xff, (height - 1) >> 16], 7);
  return riff([{ type: "VP8X", data: extended }, ...chunks]);
}

function riff(chunks: readonly WebpChunk[]): Uint8Array {
  const size = chunks.reduce((sum, { data }) => sum + 8 + data.length + (data.length & 1), 12);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  const put = (at: number, text: string) => {
    for (let i = 0; i < text.length; i++) file[at + i] = text.charCodeAt(i);
  };
  put(0, "RIFF");
  view.setUint32(4, size - 8, true);
  put(8, "WEBP");
  let at = 12;
  for (const { type, data } of chunks) {
    put(at, type);
    view.setUint32(at + 4, data.length, true);
    file.set(data, at + 8);
    at += 8 + data.length + (data.length & 1);
  }
  return file;
}
