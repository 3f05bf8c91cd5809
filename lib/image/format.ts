/** What kind of file some bytes are, by their first bytes alone. */
import { RequestError } from "../core/errors.ts";
import type { PictureHeader } from "./image.ts";

export type PictureFormat = PictureHeader["format"];

/** Kinds that are recognised only to name them in the refusal. */
const FOREIGN: readonly (readonly [name: string, offset: number, magic: string])[] = [
  ["AVIF", 4, "ftypavif"],
  ["AVIF", 4, "ftypavis"],
  ["HEIF", 4, "ftyphei"],
  ["HEIF", 4, "ftyphev"],
  ["HEIF", 4, "ftypmif1"],
  ["MP4", 4, "ftyp"],
  ["TIFF", 0, "II*\0"],
  ["TIFF", 0, "MM\0*"],
  ["JPEG XL", 0, "\xff\x0a"],
  ["JPEG XL", 4, "JXL \r\n\x87\n"],
  ["JPEG 2000", 4, "jP  \r\n\x87\n"],
  ["Photoshop", 0, "8BPS"],
  ["icon", 0, "\0\0\x01\0"],
  ["PDF", 0, "%PDF-"],
  ["SVG", 0, "<svg"],
  ["SVG", 0, "<?xml"],
  ["HTML", 0, "<!DOCTYPE"],
  ["HTML", 0, "<html"],
  ["RIFF sound or video", 0, "RIFF"],
  ["BMP", 0, "BM"],
];

/** True if `bytes` has the characters of `magic` (one byte each) at `offset`. */
export function startsWith(bytes: Uint8Array, offset: number, magic: string): boolean {
  if (bytes.length < offset + magic.length) return false;
  for (let i = 0; i < magic.length; i++) {
    if (bytes[offset + i] !== magic.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * The format of a picture file. Throws RequestError: `empty_image_file` for no bytes, `unsupported_image_media_type`
 * for a known other kind of file, `invalid_image_format` for anything else.
 */
export function sniffFormat(bytes: Uint8Array): PictureFormat {
  if (bytes.length === 0) throw new RequestError("empty_image_file", "The image file is empty.");
  if (startsWith(bytes, 0, "\x89PNG\r\n\x1a\n")) return "png";
  if (startsWith(bytes, 0, "\xff\xd8\xff")) return "jpeg";
  if (startsWith(bytes, 0, "RIFF") && startsWith(bytes, 8, "WEBP")) return "webp";
  if (startsWith(bytes, 0, "GIF87a") || startsWith(bytes, 0, "GIF89a")) return "gif";
  const foreign = FOREIGN.find(([, offset, magic]) => startsWith(bytes, offset, magic));
  if (foreign) {
    throw new RequestError(
      "unsupported_image_media_type",
      `The image is a ${foreign[0]} file. Supported are PNG, JPEG, WebP and GIF.`,
    );
  }
  throw new RequestError(
    "invalid_image_format",
    "The image's format is not recognised. Supported are PNG, JPEG, WebP and GIF.",
  );
}
