import { crc32, inflateSync } from "node:zlib";
import type { Picture } from "./image.ts";
import { orient } from "./orient.ts";
import { parseError } from "./parse_error.ts";
import { unfilter } from "./png_filter.ts";
import {
  PALETTE,
  PNG_CHANNELS,
  pngChunks,
  type PngHeader,
  readPngHeader,
  readPngOrientation,
} from "./png_header.ts";
import { rowWriter } from "./png_pixels.ts";

/** One Adam7 pass, or the whole picture: where its pixels begin and how far apart they are. */
interface Pass {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

const WHOLE: readonly Pass[] = [{ x: 0, y: 0, dx: 1, dy: 1 }];
const ADAM7: readonly Pass[] = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];

/** Every PNG of the standard, APNG by its still picture. Upright. Throws RequestError `image_parse_error`. */
export function decodePng(bytes: Uint8Array): Picture {
  const header = readPngHeader(bytes);
  const { width, height } = header;
  const { data, palette } = collect(bytes, header);
  const bitsPerPixel = PNG_CHANNELS[header.colour] * header.depth;
  const passes = (header.interlaced ? ADAM7 : WHOLE)
    .map((pass) => {
      const columns = Math.ceil((width - pass.x) / pass.dx);
      const rows = Math.ceil((height - pass.y) / pass.dy);
      return { pass, columns, rows, rowBytes: Math.ceil(columns * bitsPerPixel / 8) };
    })
    .filter(({ columns, rows }) => columns > 0 && rows > 0);

  const raw = inflate(data, passes.reduce((sum, { rows, rowBytes }) => sum + rows * (rowBytes + 1), 0));
  const rgb = new Uint8Array(width * height * 3);
  const write = rowWriter(header, raw, palette, rgb);
  let start = 0;
  for (const { pass, columns, rows, rowBytes } of passes) {
    unfilter(raw, start, rows, rowBytes, Math.max(1, bitsPerPixel / 8));
    for (let row = 0; row < rows; row++, start += rowBytes + 1) {
      write(start + 1, columns, ((pass.y + row * pass.dy) * width + pass.x) * 3, pass.dx * 3);
    }
  }
  return orient({ width, height, rgb }, readPngOrientation(bytes));
}

/** The compressed pixels and the palette. The critical chunks' checksums are verified, so damage is never shown. */
function collect(bytes: Uint8Array, header: PngHeader): { data: Uint8Array; palette: Uint8Array } {
  const parts: Uint8Array[] = [];
  let palette: Uint8Array | null = null;
  let ended = false;
  for (const { type, data, checked, crc } of pngChunks(bytes)) {
    const critical = type === "IHDR" || type === "PLTE" || type === "IDAT" || type === "IEND";
    if (critical && crc32(checked) !== crc) throw parseError(`the checksum of a PNG ${type} chunk is wrong`);
    if (type === "PLTE") palette = data;
    else if (type === "IDAT") parts.push(data);
    else if (type === "IEND") ended = true;
  }
  if (!ended) throw parseError("the PNG is truncated");
  if (header.colour === PALETTE && !palette) throw parseError("the PNG has no palette");
  return { data: joined(parts), palette: palette ?? new Uint8Array(0) };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Exactly `length` bytes: less is a broken file, more would be a bomb. */
function inflate(data: Uint8Array, length: number): Uint8Array {
  let raw: Uint8Array;
  try {
    raw = inflateSync(data, { maxOutputLength: length });
  } catch {
    throw parseError("the PNG's pixels are damaged");
  }
  if (raw.length !== length) throw parseError("the PNG has too few pixels");
  return raw;
}
