import { testParity } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";

testParity(
  "patchify lays patches out by row, column, channel, and drops what no whole patch covers",
  "exact",
  [
    { images: 1, height: 4, width: 4, patch: 2 },
    { images: 3, height: 7, width: 10, patch: 2 },
    { images: 2, height: 30, width: 45, patch: 14 },
    { images: 1, height: 16, width: 16, patch: 16 },
    { images: 2, height: 9, width: 6, patch: 1 },
  ],
  async (scope, { images, height, width, patch }) => {
    const pixels = new Draw(height).normal(images * 3 * height * width);
    const patches = Math.floor(height / patch) * Math.floor(width / patch);
    return await scope.step((step) => {
      const out = step.tensor(images * patches, 3 * patch * patch);
      step.patchify({ pixels: step.upload(images, 3 * height * width, pixels), height, width, patch, out });
      return [out];
    });
  },
);
