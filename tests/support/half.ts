/** Numbers as checkpoints store them: little-endian f32, f16 or bf16. */
import type { MatrixDtype } from "../../lib/ops/tensor.ts";

export function encode(dtype: MatrixDtype, values: Float32Array): Uint8Array {
  switch (dtype) {
    case "f32":
      return new Uint8Array(values.slice().buffer);
    case "f16":
      return new Uint8Array(Float16Array.from(values).buffer);
    case "bf16":
      return new Uint8Array(Uint16Array.from(values, upperHalf).buffer);
  }
}

/** The bf16 nearest to a finite f32, ties to even. */
function upperHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0];
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
