import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import type { ImageProcessorConfig, Picture } from "../../../lib/image/image.ts";
import { fit, preprocess } from "../../../lib/image/preprocess/mod.ts";

const CLIP: ImageProcessorConfig = {
  family: "clip",
  resize: { shortestEdge: 6 },
  resample: "bicubic",
  crop: { height: 6, width: 6 },
  rescaleFactor: 1 / 255,
  mean: [0.5, 0.25, 0],
  std: [0.5, 0.25, 2],
};

/** Every pixel tells its place: red is x, green is y. */
function gradient(width: number, height: number): Picture {
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) rgb.set([i % width, Math.floor(i / width), 200], i * 3);
  return { width, height, rgb };
}

const size = ({ width, height }: Picture) => [width, height];

Deno.test("fit for CLIP truncates the long edge", () => {
  // 6 × 25 / 13 = 11.54 → 11
  deepEqual(size(fit(gradient(25, 13), { ...CLIP, crop: null })), [11, 6]);
  deepEqual(size(fit(gradient(13, 25), { ...CLIP, crop: null })), [6, 11]);
});

Deno.test("fit for CLIP cuts the centre with truncated offsets", () => {
  const cut = fit(gradient(11, 8), { ...CLIP, resize: null });
  deepEqual(size(cut), [6, 6]);
  deepEqual([...cut.rgb.subarray(0, 3)], [2, 1, 200]); // (11 − 6) / 2 = 2.5 → 2 and (8 − 6) / 2 = 1
});

Deno.test("fit for CLIP puts black around a picture smaller than the crop", () => {
  const padded = fit(gradient(3, 9), { ...CLIP, resize: null });
  deepEqual(size(padded), [6, 6]);
  const pixel = (x: number, y: number) => [...padded.rgb.subarray((y * 6 + x) * 3, (y * 6 + x) * 3 + 3)];
  deepEqual(pixel(0, 0), [0, 0, 0]); // one column on the left, two on the right
  deepEqual(pixel(1, 0), [0, 1, 200]); // rows from (9 − 6) / 2 = 1.5 → 1
  deepEqual(pixel(3, 5), [2, 6, 200]);
  deepEqual(pixel(4, 0), [0, 0, 0]);
});

Deno.test("fit for CLIP computes only the crop of a picture that would become enormous", () => {
  // The short edge of 336 would make 5.5 million columns of it.
  const line = { width: 16_384, height: 1, rgb: new Uint8Array(16_384 * 3).fill(9) };
  const config = { ...CLIP, resize: { shortestEdge: 336 }, crop: { width: 336, height: 336 } };
  const cut = fit(line, config);
  deepEqual(size(cut), [336, 336]);
  ok(cut.rgb.every((value) => value === 9));
  throws(
    () => fit(line, { ...config, crop: null }),
    (error) => error instanceof RequestError && error.code === "image_too_large",
  );
});

Deno.test("fit for SigLIP squashes to both sides", () => {
  const squashed = fit(gradient(20, 5), {
    ...CLIP,
    family: "siglip",
    resize: { width: 4, height: 4 },
    crop: null,
  });
  deepEqual(size(squashed), [4, 4]);
  ok(squashed.rgb[9] > squashed.rgb[0], "the whole width is in it");
});

const dot = (value: number): Picture => ({ width: 1, height: 1, rgb: new Uint8Array([value, value, value]) });
const AS_IS = { ...CLIP, resize: null, crop: null };
const pixelsOf = (picture: Picture, config: ImageProcessorConfig) => [...preprocess(picture, config).pixels];

Deno.test("preprocess fuses rescaling and mean in float32", () => {
  const f = Math.fround;
  deepEqual(pixelsOf(dot(200), AS_IS), [
    f(f(200 - f(0.5 * 255)) / f(0.5 * 255)),
    f(f(200 - f(0.25 * 255)) / f(0.25 * 255)),
    f(200 / f(2 * 255)),
  ]);
});

Deno.test("preprocess without mean only rescales, without rescaling only normalises, without both does neither", () => {
  deepEqual(
    pixelsOf(dot(51), { ...AS_IS, mean: null, std: null }),
    Array(3).fill(Math.fround(51 * Math.fround(1 / 255))),
  );
  deepEqual(pixelsOf(dot(51), { ...AS_IS, rescaleFactor: null }), [101, 203, 25.5]);
  deepEqual(pixelsOf(dot(51), { ...AS_IS, rescaleFactor: null, mean: null, std: null }), [51, 51, 51]);
});

Deno.test("preprocess lays channels one after the other", () => {
  const { pixels, width, height } = preprocess(gradient(3, 2), {
    ...AS_IS,
    rescaleFactor: null,
    mean: null,
    std: null,
  });
  equal(pixels.length, 3 * height * width);
  deepEqual([...pixels], [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 200, 200, 200, 200, 200, 200]);
});
