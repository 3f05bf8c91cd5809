/** The segments of a JPEG file (ITU-T T.81), read without decoding any pixel. */
import { type Orientation, readOrientation } from "./exif.ts";
import { startsWith } from "./format.ts";
import { parseError } from "./parse_error.ts";

export interface JpegHeader {
  /** As stored, before rotation. */
  readonly width: number;
  readonly height: number;
  /** 1 grey, 3 YCbCr or RGB, 4 CMYK or YCCK. */
  readonly components: number;
  readonly orientation: Orientation;
}

const TEM = 0x01;
const RST0 = 0xd0;
const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const APP1 = 0xe1;

interface Segment {
  readonly marker: number;
  /** Content after the length field; empty for a marker that stands alone. */
  readonly start: number;
  readonly end: number;
}

/** SOF0 … SOF15 without the three other markers that stand among them (DHT, JPG, DAC). */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** The next segment at or after `at`, or null where the file ends. Bytes that are no marker are skipped, as libjpeg does. */
function nextSegment(bytes: Uint8Array, at: number): Segment | null {
  for (let i = bytes.indexOf(0xff, at); i >= 0 && i + 1 < bytes.length; i = bytes.indexOf(0xff, i + 1)) {
    const marker = bytes[i + 1];
    if (marker === 0 || marker === 0xff) continue; // a stuffed byte of the scan, or fill
    if (marker === TEM || (marker >= RST0 && marker <= EOI)) return { marker, start: i + 2, end: i + 2 };
    if (i + 4 > bytes.length) return null;
    const end = i + 2 + (bytes[i + 2] << 8 | bytes[i + 3]);
    return end > bytes.length || end < i + 4 ? null : { marker, start: i + 4, end };
  }
  return null;
}

/** Reads the first frame header and the EXIF orientation before it. Throws RequestError `image_parse_error`. */
export function readJpegHeader(bytes: Uint8Array): JpegHeader {
  let orientation: Orientation | null = null;
  for (let segment = nextSegment(bytes, 0); segment; segment = nextSegment(bytes, segment.end)) {
    const { marker, start, end } = segment;
    if (marker === SOS || marker === EOI) break;
    if (marker === APP1 && orientation === null && startsWith(bytes, start, "Exif\0")) {
      orientation = readOrientation(bytes.subarray(start + 6, end));
    }
    if (isFrame(marker)) {
      if (end - start < 6) break;
      return {
        height: bytes[start + 1] << 8 | bytes[start + 2],
        width: bytes[start + 3] << 8 | bytes[start + 4],
        components: bytes[start + 5],
        orientation: orientation ?? 1,
      };
    }
  }
  throw parseError("the JPEG has no frame header");
}

/** True if the picture's end marker is there, so that no scan was cut off. An EXIF thumbnail's own marker does not count. */
export function jpegIsComplete(bytes: Uint8Array): boolean {
  let scanned = false;
  for (let segment = nextSegment(bytes, 0); segment; segment = nextSegment(bytes, segment.end)) {
    if (segment.marker === SOS) scanned = true;
    if (segment.marker === EOI) return scanned;
    if (segment.marker === SOI && scanned) return false; // another picture begins before this one ended
  }
  return false;
}
