import { RequestError } from "../core/errors.ts";
import { decodeGif } from "./gif.ts";
import { readHeader } from "./header.ts";
import type { Picture } from "./image.ts";
import { decodeJpeg } from "./jpeg.ts";
import { parseError } from "./parse_error.ts";
import { decodePng } from "./png.ts";
import { decodeWebp } from "./webp.ts";

/**
 * Decodes a picture file: upright, 8-bit RGB, alpha dropped. The header's limits are checked first, so no file makes
 * this take more memory than they allow. Throws RequestError as {@link readHeader} does, and `image_parse_error` for
 * pixels that are damaged or missing; never returns half a picture.
 */
export async function decodePicture(bytes: Uint8Array): Promise<Picture> {
  const { format } = readHeader(bytes);
  try {
    switch (format) {
      case "png":
        return decodePng(bytes);
      case "jpeg":
        return await decodeJpeg(bytes);
      case "webp":
        return await decodeWebp(bytes);
      case "gif":
        return decodeGif(bytes);
    }
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw parseError("the file is damaged"); // e.g. RangeError from a length that points outside the file
  }
}
