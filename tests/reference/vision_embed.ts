import { expectShape, floats, type Operands } from "./tensor.ts";

/** Per image: the class token (if any), then the patches, each plus its position's row. */
export function visionEmbed(o: Operands<"visionEmbed">): void {
  const dim = o.patches.cols, skip = o.classToken === null ? 0 : 1;
  const perImage = o.patches.rows / o.images, rows = perImage + skip;
  expectShape(o.patches, o.images * perImage, dim);
  if (o.classToken !== null) expectShape(o.classToken, 1, dim);
  expectShape(o.positions, rows, dim);
  expectShape(o.out, o.images * rows, dim);
  const patches = floats(o.patches), positions = floats(o.positions), out = floats(o.out);
  const classToken = o.classToken === null ? null : floats(o.classToken);
  for (let i = 0; i < o.images; i++) {
    for (let r = 0; r < rows; r++) {
      for (let d = 0; d < dim; d++) {
        const value = classToken !== null && r === 0
          ? classToken[d]
          : patches[(i * perImage + r - skip) * dim + d];
        out[(i * rows + r) * dim + d] = value + positions[r * dim + d];
      }
    }
  }
}
