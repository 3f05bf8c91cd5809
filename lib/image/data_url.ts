import { RequestError } from "../core/errors.ts";
import { IMAGE_FILE_BYTES_MAX } from "../core/limits.ts";

const WHITESPACE = /[\t\n\f\r ]/g;

/** True if `url` is a data URL (the scheme's case does not matter). */
export function isDataUrl(url: string): boolean {
  return url.slice(0, 5).toLowerCase() === "data:";
}

/**
 * The bytes of a picture in a data URL, `data:image/…;base64,…`. As browsers do, it takes ASCII whitespace between the
 * digits and a missing padding. The file's format is not taken from the media type but from the bytes, later.
 *
 * Throws RequestError with `param`: `invalid_image_url` (no data URL, no comma), `unsupported_image_media_type` (not
 * image/…), `invalid_base64_image`, `empty_image_file`, `image_file_too_large` (counted before anything is decoded).
 */
export function decodeDataUrl(url: string, param: string): Uint8Array<ArrayBuffer> {
  const comma = url.indexOf(",");
  if (!isDataUrl(url) || comma < 0) {
    throw new RequestError("invalid_image_url", "The image URL is not a valid data URL.", param);
  }
  const [mediaType, ...attributes] = url.slice(5, comma).split(";").map((part) => part.trim().toLowerCase());
  if (!mediaType.startsWith("image/")) {
    throw new RequestError(
      "unsupported_image_media_type",
      "The data URL's media type is not an image. Supported are PNG, JPEG, WebP and GIF.",
      param,
    );
  }
  if (attributes.at(-1) !== "base64") {
    throw new RequestError("invalid_base64_image", "The data URL is not base64-encoded.", param);
  }
  const digits = url.slice(comma + 1);
  checkLength(digits, param);
  const bytes = decodeBase64(digits, param);
  if (bytes.length === 0) throw new RequestError("empty_image_file", "The image file is empty.", param);
  return bytes;
}

function checkLength(digits: string, param: string): void {
  const digitsMax = Math.ceil(IMAGE_FILE_BYTES_MAX / 3) * 4; // padding included
  // Whitespace is counted only if the answer can depend on it.
  if (digits.length <= digitsMax || digits.replace(WHITESPACE, "").length <= digitsMax) return;
  throw new RequestError(
    "image_file_too_large",
    `The image file is too large: at most ${IMAGE_FILE_BYTES_MAX} bytes are allowed.`,
    param,
  );
}

function decodeBase64(digits: string, param: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(digits, { lastChunkHandling: "loose" });
  } catch {
    throw new RequestError("invalid_base64_image", "The image is not valid base64.", param);
  }
}
