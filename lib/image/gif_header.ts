/** The blocks of a GIF file (GIF89a) up to its first picture, read without decoding any pixel. */
import { parseError } from "./parse_error.ts";

export interface GifHeader {
  /** Of the canvas. */
  readonly width: number;
  readonly height: number;
}

/** The first picture of a file. */
export interface GifFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly interlaced: boolean;
  /** RGB entries; null if the file has no colour table. */
  readonly palette: Uint8Array | null;
  /** Palette index that means transparent; null if there is none. */
  readonly transparent: number | null;
  readonly codeBits: number;
  /** The LZW data, sub-blocks joined. */
  readonly codes: Uint8Array;
}

const HEADER_BYTES = 13;
const EXTENSION = 0x21;
const IMAGE = 0x2c;
const GRAPHIC_CONTROL = 0xf9;
const HAS_TABLE = 0x80;
const INTERLACED = 0x40;
const HAS_TRANSPARENT = 0x01;

/** Reads the canvas size. Throws RequestError `image_parse_error`. */
export function readGifHeader(bytes: Uint8Array): GifHeader {
  if (bytes.length < HEADER_BYTES) throw parseError("the GIF ends inside its header");
  return { width: bytes[6] | bytes[7] << 8, height: bytes[8] | bytes[9] << 8 };
}

/** Finds the first picture. Throws RequestError `image_parse_error`. */
export function readGifFrame(bytes: Uint8Array): GifFrame {
  readGifHeader(bytes);
  const global = colourTable(bytes, bytes[10], HEADER_BYTES);
  let transparent: number | null = null;
  let at = HEADER_BYTES + (global?.length ?? 0);
  while (at < bytes.length) {
    if (bytes[at] === IMAGE && at + 11 <= bytes.length) {
      const flags = bytes[at + 9];
      const local = colourTable(bytes, flags, at + 10);
      const data = at + 10 + (local?.length ?? 0);
      return {
        left: bytes[at + 1] | bytes[at + 2] << 8,
        top: bytes[at + 3] | bytes[at + 4] << 8,
        width: bytes[at + 5] | bytes[at + 6] << 8,
        height: bytes[at + 7] | bytes[at + 8] << 8,
        interlaced: (flags & INTERLACED) !== 0,
        palette: local ?? global,
        transparent,
        codeBits: bytes[data],
        codes: subBlocks(bytes, data + 1).joined,
      };
    }
    if (bytes[at] !== EXTENSION) break;
    const { joined, end } = subBlocks(bytes, at + 2);
    if (bytes[at + 1] === GRAPHIC_CONTROL && joined.length >= 4) {
      transparent = joined[0] & HAS_TRANSPARENT ? joined[3] : null;
    }
    at = end;
  }
  throw parseError("the GIF has no picture");
}

/** The table that `flags` announce at `start`, or null. */
function colourTable(bytes: Uint8Array, flags: number, start: number): Uint8Array | null {
  if (!(flags & HAS_TABLE)) return null;
  const length = 3 * (2 << (flags & 7));
  if (start + length > bytes.length) throw parseError("the GIF ends inside a colour table");
  return bytes.subarray(start, start + length);
}

/** Joins the sub-blocks at `start`; `end` is after their terminator. */
function subBlocks(bytes: Uint8Array, start: number): { joined: Uint8Array; end: number } {
  let end = start;
  let length = 0;
  while (bytes[end] > 0) {
    length += bytes[end];
    end += bytes[end] + 1;
  }
  if (end >= bytes.length) throw parseError("the GIF is truncated");
  const joined = new Uint8Array(length);
  let filled = 0;
  for (let at = start; at < end; at += bytes[at] + 1) {
    joined.set(bytes.subarray(at + 1, at + 1 + bytes[at]), filled);
    filled += bytes[at];
  }
  return { joined, end: end + 1 };
}
