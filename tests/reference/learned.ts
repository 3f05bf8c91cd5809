/** The learned method on one head's keys or values of one layer, in plain f64, written from its definition. */
import type { ImageSpan } from "../../lib/engine/compress/method.ts";
import { type Compressor, COMPRESSOR_LINEARS, compressorTensor } from "../../lib/model/compressor.ts";
import { valuesOf } from "../support/compressors.ts";

/** `rows`: the head's stored vectors. Returns the vectors that remain. */
export function learned(
  compressor: Compressor,
  layer: number,
  part: "key" | "value",
  rows: readonly Float64Array[],
  images: readonly ImageSpan[],
): Float64Array[] {
  const isImage = rows.map((_, i) => images.some(({ first, count }) => i >= first && i < first + count));
  const out: Float64Array[] = [];
  for (let start = 0; start < rows.length;) {
    let end = start;
    while (end < rows.length && isImage[end] === isImage[start]) end++;
    const kind = `${isImage[start] ? "i" : "t"}${part === "key" ? "k" : "v"}` as "tk" | "tv" | "ik" | "iv";
    const factor = compressor.factors[isImage[start] ? "image" : "text"][layer];
    const groups = Math.floor((end - start) / factor);
    const compressed = factor === 1 || groups < compressor.minGroups ? 0 : groups;
    for (let g = 0; g < compressed; g++) {
      let x = rows.slice(start + g * factor, start + (g + 1) * factor).flatMap((row) => [...row]);
      for (const linear of COMPRESSOR_LINEARS) {
        const weight = valuesOf(compressor, compressorTensor(kind, layer, linear, "weight"));
        const bias = valuesOf(compressor, compressorTensor(kind, layer, linear, "bias"));
        x = [...bias].map((b, n) => {
          let sum = b;
          for (let k = 0; k < x.length; k++) sum += weight[n * x.length + k] * x[k];
          return linear === 6 ? sum : Math.max(0, sum);
        });
      }
      out.push(Float64Array.from(x));
    }
    out.push(...rows.slice(start + compressed * factor, end));
    start = end;
  }
  return out;
}
