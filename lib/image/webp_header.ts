/** The chunks of a WebP file (RFC 9649), read without decoding any pixel. */
import { type Orientation, readOrientation } from "./exif.ts";
import { startsWith } from "./format.ts";
import { parseError } from "./parse_error.ts";

export interface WebpChunk {
  readonly type: string;
  readonly data: Uint8Array;
}

export interface WebpHeader {
  /** Of the canvas, as stored, before rotation. */
  readonly width: number;
  readonly height: number;
  readonly animated: boolean;
}

const RIFF_HEADER_BYTES = 12;
const ANIMATION_FLAG = 0x02;

/** 24-bit little-endian number. */
export function uint24(bytes: Uint8Array, at: number): number {
  return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16;
}

/** The chunks from `start` on. A chunk that the end of the bytes cuts off is not among them. */
export function* webpChunks(bytes: Uint8Array, start: number): Generator<WebpChunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = start;
  while (at + 8 <= bytes.length) {
    const length = view.getUint32(at + 4, true);
    const end = at + 8 + length;
    if (end > bytes.length) return;
    yield {
      type: String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]),
      data: bytes.subarray(at + 8, end),
    };
    at = end + (length & 1);
  }
}

/** All chunks of a WebP file. */
export function webpFileChunks(bytes: Uint8Array): Generator<WebpChunk> {
  return webpChunks(bytes, RIFF_HEADER_BYTES);
}

/** Reads the first chunk, which gives the size. Throws RequestError `image_parse_error`. */
export function readWebpHeader(bytes: Uint8Array): WebpHeader {
  if (bytes.length < 30) throw parseError("the WebP ends inside its header");
  const data = bytes.subarray(20);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (startsWith(bytes, 12, "VP8X")) {
    return {
      width: uint24(data, 4) + 1,
      height: uint24(data, 7) + 1,
      animated: (data[0] & ANIMATION_FLAG) !== 0,
    };
  }
  if (startsWith(bytes, 12, "VP8L")) {
    const bits = view.getUint32(1, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, animated: false };
  }
  if (startsWith(bytes, 12, "VP8 ") && startsWith(bytes, 23, "\x9d\x01\x2a")) {
    return {
      width: view.getUint16(6, true) & 0x3fff,
      height: view.getUint16(8, true) & 0x3fff,
      animated: false,
    };
  }
  throw parseError("the WebP does not start with a picture");
}

/** The orientation of an EXIF chunk; writers differ on whether `Exif\0\0` stands before the TIFF block. */
export function readWebpOrientation(bytes: Uint8Array): Orientation {
  for (const { type, data } of webpFileChunks(bytes)) {
    if (type === "EXIF") return readOrientation(startsWith(data, 0, "Exif\0\0") ? data.subarray(6) : data);
  }
  return 1;
}
