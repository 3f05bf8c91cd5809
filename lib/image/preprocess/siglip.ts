import { assert } from "../../core/assert.ts";
import type { ImageProcessorConfig, Picture } from "../image.ts";
import { resample } from "../resample.ts";

/** SigLIP's way: the whole picture squashed to height × width, whatever its shape. */
export function fitSiglip(picture: Picture, config: ImageProcessorConfig): Picture {
  if (config.resize === null) return picture;
  assert("height" in config.resize, "a SigLIP processor gives both sides");
  const { width, height } = config.resize;
  return resample(picture, { width, height }, config.resample, { left: 0, top: 0, width, height });
}
