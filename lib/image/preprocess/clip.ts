import { RequestError } from "../../core/errors.ts";
import { IMAGE_PIXELS_MAX } from "../../core/limits.ts";
import type { ImageProcessorConfig, Picture } from "../image.ts";
import { resample, type Size } from "../resample.ts";

/**
 * CLIP's way: resize, then cut out the centre, with black around it where the picture is smaller than the crop.
 * Throws RequestError `image_too_large` if without a crop the resized picture would exceed the limit on pixels.
 */
export function fitClip(picture: Picture, config: ImageProcessorConfig): Picture {
  const size = resizedSize(picture, config.resize);
  const crop = config.crop ?? size;
  const width = Math.min(crop.width, size.width);
  const height = Math.min(crop.height, size.height);
  if (width * height > IMAGE_PIXELS_MAX) {
    throw new RequestError("image_too_large", `The image is too large after resizing: ${width} × ${height}.`);
  }
  const centre = resample(picture, size, config.resample, {
    left: Math.trunc((size.width - width) / 2),
    top: Math.trunc((size.height - height) / 2),
    width,
    height,
  });
  return width === crop.width && height === crop.height ? centre : padded(centre, crop);
}

/** The short edge becomes `shortestEdge`, the long one follows, truncated. */
function resizedSize(picture: Picture, resize: ImageProcessorConfig["resize"]): Size {
  if (resize === null) return picture;
  if (!("shortestEdge" in resize)) return resize;
  const { width, height } = picture;
  const short = resize.shortestEdge;
  return width <= height
    ? { width: short, height: Math.trunc(short * height / width) }
    : { width: Math.trunc(short * width / height), height: short };
}

/** The picture in the middle of a black one; of an odd rest the larger part goes to the right and the bottom. */
function padded(picture: Picture, size: Size): Picture {
  const left = Math.trunc((size.width - picture.width) / 2);
  const top = Math.trunc((size.height - picture.height) / 2);
  const rgb = new Uint8Array(size.width * size.height * 3);
  const rowBytes = picture.width * 3;
  for (let y = 0; y < picture.height; y++) {
    rgb.set(picture.rgb.subarray(y * rowBytes, (y + 1) * rowBytes), ((top + y) * size.width + left) * 3);
  }
  return { width: size.width, height: size.height, rgb };
}
