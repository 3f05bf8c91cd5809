import type { ImageProcessorConfig, Picture, PreparedImage } from "../image.ts";
import { normalise } from "../normalise.ts";
import { fitClip } from "./clip.ts";
import { fitSiglip } from "./siglip.ts";

/** Resizing and cropping by family: 8-bit values of the size that the tower takes. */
export function fit(picture: Picture, config: ImageProcessorConfig): Picture {
  switch (config.family) {
    case "clip":
      return fitClip(picture, config);
    case "siglip":
      return fitSiglip(picture, config);
  }
}

/** A decoded picture as its tower takes it. */
export function preprocess(picture: Picture, config: ImageProcessorConfig): PreparedImage {
  return normalise(fit(picture, config), config);
}
