import { testParity } from "../support/backends.ts";
import { Draw, pairs } from "../support/cases.ts";

testParity(
  "visionEmbed adds positions to the class token and to the patches of every image",
  "exact",
  pairs([true, false], [1, 2, 5]).flatMap(([classToken, images]) =>
    [[1, 4], [9, 12], [25, 588]].map(([patches, dim]) => ({ classToken, images, patches, dim }))
  ),
  async (scope, { classToken, images, patches, dim }) => {
    const draw = new Draw(images * patches * dim);
    const rows = patches + (classToken ? 1 : 0);
    const first = classToken ? scope.tensor(1, dim, draw.normal(dim)) : null;
    const positions = scope.tensor(rows, dim, draw.normal(rows * dim));
    return await scope.step((step) => {
      const out = step.tensor(images * rows, dim);
      step.visionEmbed({
        patches: step.upload(images * patches, dim, draw.normal(images * patches * dim)),
        classToken: first,
        positions,
        images,
        out,
      });
      return [out];
    });
  },
);
