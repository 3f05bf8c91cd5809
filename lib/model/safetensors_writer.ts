/** Writes the safetensors format. */

export interface WrittenTensor {
  readonly dtype: "F32" | "F16";
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Eight bytes of header length, the header padded with spaces to eight bytes, then the data end to end. */
export function safetensors(tensors: ReadonlyMap<string, WrittenTensor>): Uint8Array {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, { dtype, shape, values }] of tensors) {
    const bytes = values.length * (dtype === "F16" ? 2 : 4);
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json.padEnd(8 * Math.ceil(json.length / 8)));
  const out = new Uint8Array(8 + text.length + end);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  let at = 8 + text.length;
  for (const { dtype, values } of tensors.values()) {
    const stored = dtype === "F16" ? Float16Array.from(values) : values;
    out.set(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), at);
    at += stored.byteLength;
  }
  return out;
}
