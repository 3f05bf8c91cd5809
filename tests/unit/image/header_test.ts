import { deepEqual, ok, throws } from "node:assert/strict";
import { type ErrorCode, RequestError } from "../../../lib/core/errors.ts";
import { IMAGE_FILE_BYTES_MAX, IMAGE_SIDE_MAX } from "../../../lib/core/limits.ts";
import { readHeader } from "../../../lib/image/header.ts";
import { pngClaiming, readSample, SAMPLES } from "./samples.ts";

Deno.test("readHeader gives format and upright size of every sample", () => {
  for (const [name, { format, width, height }] of SAMPLES) {
    deepEqual(readHeader(readSample(name)), { format, width, height }, name);
  }
});

const bytesOf = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

const REFUSALS: readonly (readonly [criterion: string, code: ErrorCode, bytes: Uint8Array])[] = [
  ["no bytes", "empty_image_file", new Uint8Array(0)],
  ["20000 × 20000 pixels", "image_too_large", pngClaiming(20_000, 20_000)],
  ["too many pixels within the sides", "image_too_large", pngClaiming(IMAGE_SIDE_MAX, IMAGE_SIDE_MAX)],
  ["a side beyond the limit", "image_too_large", pngClaiming(IMAGE_SIDE_MAX + 1, 1)],
  ["a width of 0", "image_too_small", pngClaiming(0, 4)],
  ["a height of 0", "image_too_small", pngClaiming(4, 0)],
  ["a file beyond the limit", "image_file_too_large", new Uint8Array(IMAGE_FILE_BYTES_MAX + 1)],
  ["a BMP", "unsupported_image_media_type", bytesOf("BM\x46\0\0\0\0\0\0\0\x36\0\0\0")],
  ["a TIFF", "unsupported_image_media_type", bytesOf("II*\0\x08\0\0\0")],
  ["an AVIF", "unsupported_image_media_type", bytesOf("\0\0\0\x20ftypavif\0\0\0\0")],
  ["a HEIC", "unsupported_image_media_type", bytesOf("\0\0\0\x18ftypheic\0\0\0\0")],
  ["an SVG", "unsupported_image_media_type", bytesOf("<svg xmlns='http://www.w3.org/2000/svg'/>")],
  ["a PDF", "unsupported_image_media_type", bytesOf("%PDF-1.7\n")],
  ["a WAV", "unsupported_image_media_type", bytesOf("RIFF\x24\0\0\0WAVEfmt ")],
  ["plain text", "invalid_image_format", bytesOf("hello, world")],
  ["a PNG signature alone", "image_parse_error", readSample("rgb8.png").subarray(0, 8)],
  ["a JPEG that ends before its frame", "image_parse_error", readSample("420.jpg").subarray(0, 40)],
  ["a GIF that ends in its header", "image_parse_error", readSample("plain.gif").subarray(0, 8)],
  ["a WebP that ends in its header", "image_parse_error", readSample("lossy.webp").subarray(0, 20)],
];

for (const [criterion, code, bytes] of REFUSALS) {
  Deno.test(`readHeader refuses ${criterion} as ${code}`, () => {
    throws(() => readHeader(bytes), (error) => error instanceof RequestError && error.code === code);
  });
}

Deno.test("readHeader takes the largest sides that the pixel limit allows", () => {
  ok(readHeader(pngClaiming(IMAGE_SIDE_MAX, 3_000)).width === IMAGE_SIDE_MAX);
});

Deno.test("readHeader is not misled by the size of an EXIF thumbnail", () => {
  // A whole other JPEG inside the EXIF segment, before the picture's own frame header.
  const thumbnail = readSample("exif1.jpg");
  const outer = readSample("420.jpg");
  const length = 2 + 6 + thumbnail.length;
  const file = new Uint8Array([
    0xff,
    0xd8,
    0xff,
    0xe1,
    length >> 8,
    length & 255,
    ...bytesOf("Exif\0\0"),
    ...thumbnail,
    ...outer.subarray(2),
  ]);
  deepEqual(readHeader(file), { format: "jpeg", width: 37, height: 26 });
});
