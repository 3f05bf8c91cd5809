/** Pictures as parts of a message. */
import { decodePicture } from "../../lib/image/decode.ts";
import type { Picture } from "../../lib/image/image.ts";
import type { Part } from "../load/request.ts";
import { encodePng } from "../png.ts";

/** A picture that a request may send as it is, or with a pixel of its own. */
export interface Image {
  /** `serial` makes the picture unlike any other; null sends it as it is. */
  part(serial: number | null): Promise<Part>;
}

function imagePart(type: "png" | "jpeg" | "webp" | "gif", file: Uint8Array): Part {
  return { type: "image_url", image_url: { url: `data:image/${type};base64,${file.toBase64()}` } };
}

/** The first pixel is the serial number. */
function marked(picture: Picture, serial: number): Picture {
  const rgb = picture.rgb.slice();
  rgb.set([serial & 255, (serial >> 8) & 255, (serial >> 16) & 255], 0);
  return { ...picture, rgb };
}

export function drawnImage(picture: Picture): Image {
  let plain: Part | null = null;
  return {
    part: (serial) =>
      Promise.resolve(
        serial === null
          ? plain ??= imagePart("png", encodePng(picture))
          : imagePart("png", encodePng(marked(picture, serial))),
      ),
  };
}

const FORMATS = { png: "png", jpg: "jpeg", jpeg: "jpeg", webp: "webp", gif: "gif" } as const;

/** A file, read when it is first asked for. */
export function fileImage(path: string): Image {
  const ending = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  if (!(ending in FORMATS)) throw new Error(`${path}: expected a png, jpg, webp or gif file`);
  const type = FORMATS[ending as keyof typeof FORMATS];
  let plain: Part | null = null;
  return {
    async part(serial) {
      if (serial !== null) {
        return imagePart("png", encodePng(marked(await decodePicture(Deno.readFileSync(path)), serial)));
      }
      return plain ??= imagePart(type, Deno.readFileSync(path));
    },
  };
}

/** Numbers of fresh pictures, or null all along. */
export function serials(fresh: boolean): () => number | null {
  let serial = 0;
  return () => fresh ? ++serial : null;
}
