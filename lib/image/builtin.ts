import type { Picture } from "./image.ts";
import { parseError } from "./parse_error.ts";

const BMP_OFFSET_FIELD = 10;
const BMP_BITS_FIELD = 28;

/**
 * Decodes with the platform's own decoder, by way of a BMP blob, the only way it hands out pixels. Slower than the
 * others here and within one level of libjpeg; used for CMYK alone. It applies the EXIF orientation itself.
 * Throws RequestError `image_parse_error`, also when the upright size is not `width` × `height`.
 */
export async function decodeBuiltin(bytes: Uint8Array, width: number, height: number): Promise<Picture> {
  const bmp = await bitmapFile(bytes, width, height);
  const view = new DataView(bmp.buffer);
  const pixelBytes = view.getUint16(BMP_BITS_FIELD, true) / 8;
  const rowBytes = Math.ceil(width * pixelBytes / 4) * 4;
  const rgb = new Uint8Array(width * height * 3);
  const first = view.getUint32(BMP_OFFSET_FIELD, true);
  let target = 0;
  for (let y = 0; y < height; y++) {
    let source = first + (height - 1 - y) * rowBytes; // rows from the bottom, bytes as B, G, R
    for (let x = 0; x < width; x++, source += pixelBytes, target += 3) {
      rgb[target] = bmp[source + 2];
      rgb[target + 1] = bmp[source + 1];
      rgb[target + 2] = bmp[source];
    }
  }
  return { width, height, rgb };
}

async function bitmapFile(
  bytes: Uint8Array,
  width: number,
  height: number,
): Promise<Uint8Array<ArrayBuffer>> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]), {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw parseError("the platform's decoder refused it");
  }
  if (bitmap.width !== width || bitmap.height !== height) {
    bitmap.close();
    throw parseError("its size is not what its header says");
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("bitmaprenderer")!.transferFromImageBitmap(bitmap);
  const blob = await canvas.convertToBlob({ type: "image/bmp" });
  return new Uint8Array(await blob.arrayBuffer());
}
