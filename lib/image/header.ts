import { RequestError } from "../core/errors.ts";
import { IMAGE_FILE_BYTES_MAX, IMAGE_PIXELS_MAX, IMAGE_SIDE_MAX } from "../core/limits.ts";
import { type Orientation, swapsSides } from "./exif.ts";
import { type PictureFormat, sniffFormat } from "./format.ts";
import { readGifHeader } from "./gif_header.ts";
import type { PictureHeader } from "./image.ts";
import { readJpegHeader } from "./jpeg_header.ts";
import { readPngHeader, readPngOrientation } from "./png_header.ts";
import { readWebpHeader, readWebpOrientation } from "./webp_header.ts";

/**
 * Format and upright size of a picture file from its header alone; the limits hold for every file that passes.
 *
 * Throws RequestError: `empty_image_file`, `image_file_too_large`, `unsupported_image_media_type`,
 * `invalid_image_format`, `image_parse_error`, `image_too_small` (a side of 0) or `image_too_large`.
 */
export function readHeader(bytes: Uint8Array): PictureHeader {
  if (bytes.length > IMAGE_FILE_BYTES_MAX) {
    throw new RequestError(
      "image_file_too_large",
      `The image file has ${bytes.length} bytes; at most ${IMAGE_FILE_BYTES_MAX} are allowed.`,
    );
  }
  const format = sniffFormat(bytes);
  const { width, height } = storedSize(bytes, format);
  checkSize(width, height);
  return swapsSides(orientationOf(bytes, format))
    ? { format, width: height, height: width }
    : { format, width, height };
}

function storedSize(bytes: Uint8Array, format: PictureFormat): { width: number; height: number } {
  switch (format) {
    case "png":
      return readPngHeader(bytes);
    case "jpeg":
      return readJpegHeader(bytes);
    case "webp":
      return readWebpHeader(bytes);
    case "gif":
      return readGifHeader(bytes);
  }
}

function orientationOf(bytes: Uint8Array, format: PictureFormat): Orientation {
  switch (format) {
    case "png":
      return readPngOrientation(bytes);
    case "jpeg":
      return readJpegHeader(bytes).orientation;
    case "webp":
      return readWebpOrientation(bytes);
    case "gif":
      return 1;
  }
}

function checkSize(width: number, height: number): void {
  const size = `The image is ${width} × ${height} pixels`;
  if (width < 1 || height < 1) {
    throw new RequestError("image_too_small", `${size}; at least 1 × 1 is needed.`);
  }
  if (width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX) {
    throw new RequestError("image_too_large", `${size}; at most ${IMAGE_SIDE_MAX} a side are allowed.`);
  }
  if (width * height > IMAGE_PIXELS_MAX) {
    throw new RequestError("image_too_large", `${size}; at most ${IMAGE_PIXELS_MAX} in all are allowed.`);
  }
}
