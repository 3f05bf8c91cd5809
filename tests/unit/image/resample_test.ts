import { deepEqual, equal } from "node:assert/strict";
import { decodePicture } from "../../../lib/image/decode.ts";
import { cropped, resample } from "../../../lib/image/resample.ts";
import { readSample, RESAMPLED, sha256 } from "./samples.ts";

for (const { file, filter, width, height, sha256: expected } of RESAMPLED) {
  Deno.test(`resample makes ${file} ${width} × ${height} by ${filter} as Pillow does`, async () => {
    const picture = await decodePicture(readSample(file));
    const resized = resample(
      picture,
      { width, height },
      filter,
      { left: 0, top: 0, width, height },
      "pillow",
    );
    deepEqual([resized.width, resized.height], [width, height]);
    equal(sha256(resized.rgb), expected);
  });
}

Deno.test("resample of a window equals the same window of the whole", async () => {
  const picture = await decodePicture(readSample("lossless.webp"));
  const window = { left: 3, top: 5, width: 7, height: 4 };
  const sizes = [{ width: 14, height: 14 }, { width: 90, height: 26 }, { width: 37, height: 70 }];
  for (const size of sizes) {
    for (const filter of ["nearest", "bicubic", "lanczos"] as const) {
      const whole = resample(picture, size, filter, { left: 0, top: 0, ...size });
      deepEqual(resample(picture, size, filter, window), cropped(whole, window), `${size.width} ${filter}`);
    }
  }
});

Deno.test("resample leaves a picture of the same size as it is", async () => {
  const picture = await decodePicture(readSample("lossless.webp"));
  const { width, height } = picture;
  deepEqual(resample(picture, { width, height }, "bicubic", { left: 0, top: 0, width, height }), picture);
});
