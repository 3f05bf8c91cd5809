/** The chunks of a PNG file (ISO/IEC 15948), read without decoding any pixel. */
import { type Orientation, readOrientation } from "./exif.ts";
import { parseError } from "./parse_error.ts";

export const GREY = 0;
export const RGB = 2;
export const PALETTE = 3;
export const GREY_ALPHA = 4;
export const RGB_ALPHA = 6;

export interface PngHeader {
  /** As stored, before rotation. */
  readonly width: number;
  readonly height: number;
  /** Bits a sample: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  /** GREY, RGB, PALETTE, GREY_ALPHA or RGB_ALPHA. */
  readonly colour: number;
  readonly interlaced: boolean;
}

export interface PngChunk {
  readonly type: string;
  readonly data: Uint8Array;
  /** Type and data, which the checksum covers. */
  readonly checked: Uint8Array;
  readonly crc: number;
}

/** Samples a pixel of each colour type. */
export const PNG_CHANNELS: Readonly<Record<number, number>> = {
  [GREY]: 1,
  [RGB]: 3,
  [PALETTE]: 1,
  [GREY_ALPHA]: 2,
  [RGB_ALPHA]: 4,
};

const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  [GREY]: [1, 2, 4, 8, 16],
  [RGB]: [8, 16],
  [PALETTE]: [1, 2, 4, 8],
  [GREY_ALPHA]: [8, 16],
  [RGB_ALPHA]: [8, 16],
};

const SIGNATURE_BYTES = 8;
const HEADER_END = 29; // signature 8 + length 4 + type 4 + IHDR 13

/** Reads IHDR. Throws RequestError `image_parse_error`. */
export function readPngHeader(bytes: Uint8Array): PngHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_END) throw parseError("the PNG ends inside its header");
  if (view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) {
    throw parseError("the PNG does not start with IHDR");
  }
  const header = {
    width: view.getUint32(16),
    height: view.getUint32(20),
    depth: bytes[24],
    colour: bytes[25],
    interlaced: bytes[28] === 1,
  };
  if (!DEPTHS[header.colour]?.includes(header.depth)) throw parseError("the PNG's colour type is unknown");
  if (bytes[26] !== 0 || bytes[27] !== 0 || bytes[28] > 1) throw parseError("the PNG's coding is unknown");
  return header;
}

/** All chunks up to and with IEND. Ends early, without an error, where the file does. */
export function* pngChunks(bytes: Uint8Array): Generator<PngChunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = SIGNATURE_BYTES;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length) return;
    const type = String.fromCharCode(bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]);
    yield {
      type,
      data: bytes.subarray(at + 8, end - 4),
      checked: bytes.subarray(at + 4, end - 4),
      crc: view.getUint32(end - 4),
    };
    if (type === "IEND") return;
    at = end;
  }
}

/** The orientation of an eXIf chunk, wherever it stands. */
export function readPngOrientation(bytes: Uint8Array): Orientation {
  for (const chunk of pngChunks(bytes)) {
    if (chunk.type === "eXIf") return readOrientation(chunk.data);
  }
  return 1;
}
