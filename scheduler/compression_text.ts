/** The short form of a wish for compression. */

/**
 * `METHOD[:RATIO][:int8|int4]` as fields of the long form; `int8` alone packs all slots. A ratio that is no number reads
 * as NaN, which no method takes.
 */
export function compressionFields(text: string): Record<string, unknown> {
  const parts = text.split(":"), last = parts[parts.length - 1];
  const quantize = last === "int8" || last === "int4" ? parts.pop() : undefined;
  const [method, ratio, ...rest] = parts;
  const digits = rest.length === 0 && /^\d*\.?\d+$/.test(ratio ?? "");
  return {
    ...(quantize === undefined ? {} : { quantize }),
    ...(method === undefined ? {} : { method }),
    ...(ratio === undefined ? {} : { ratio: digits ? Number(ratio) : NaN }),
  };
}
