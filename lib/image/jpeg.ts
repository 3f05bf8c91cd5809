import createDecoder from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import decoderCode from "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm" with { type: "bytes" };
import { decodeBuiltin } from "./builtin.ts";
import { swapsSides } from "./exif.ts";
import type { Picture } from "./image.ts";
import { jpegIsComplete, readJpegHeader } from "./jpeg_header.ts";
import { orient } from "./orient.ts";
import { parseError } from "./parse_error.ts";
import { withoutAlpha } from "./rgba.ts";
import { type CodecFactory, type RgbaPixels, WasmCodec } from "./wasm_codec.ts";

interface JpegDecoder {
  /** `upright` applies the EXIF orientation. */
  decode(bytes: Uint8Array, upright: boolean): RgbaPixels | null;
}

const codec = new WasmCodec(createDecoder as CodecFactory<JpegDecoder>, decoderCode);

/** libjpeg's warnings that leave the pixels whole. All others mean a damaged scan. */
const HARMLESS =
  /extraneous bytes before marker|Unknown Adobe color transform|Obtained XMS|JFIF major revision/;

/**
 * Baseline and progressive JPEG by libjpeg, so with its integer DCT and its smooth chroma upsampling, equal to what
 * Pillow decodes. CMYK goes to the built-in decoder. Upright. Throws RequestError `image_parse_error`.
 */
export async function decodeJpeg(bytes: Uint8Array): Promise<Picture> {
  const { width, height, components, orientation } = readJpegHeader(bytes);
  if (!jpegIsComplete(bytes)) throw parseError("the JPEG is truncated");
  if (components === 4) {
    return swapsSides(orientation)
      ? decodeBuiltin(bytes, height, width)
      : decodeBuiltin(bytes, width, height);
  }
  const { pixels, complaints } = await codec.decode(
    width * height,
    (decoder) => decoder.decode(bytes, false),
  );
  if (!pixels || complaints.some((line) => !HARMLESS.test(line))) throw parseError("the JPEG is damaged");
  if (pixels.width !== width || pixels.height !== height) {
    throw parseError("the JPEG's size is not what its header says");
  }
  return orient(withoutAlpha(pixels.data, width, height), orientation);
}
