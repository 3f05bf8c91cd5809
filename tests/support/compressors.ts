/** Compressors of random weights, as a file would hold them. */
import {
  type Compressor,
  COMPRESSOR_KINDS,
  COMPRESSOR_LINEARS,
  compressorTensor,
} from "../../lib/model/compressor.ts";
import type { StoredTensor } from "../../lib/model/safetensors.ts";
import type { Draw } from "./cases.ts";

/** Weights of about unit gain, f32. */
export function randomCompressor(
  draw: Draw,
  shape: { readonly layers: number; readonly headDim: number },
  facts: { readonly factor: number; readonly minGroups?: number; readonly images?: boolean },
): Compressor {
  const { factor, minGroups = 2, images = true } = facts;
  const tensors = new Map<string, StoredTensor>();
  for (const kind of images ? COMPRESSOR_KINDS : COMPRESSOR_KINDS.slice(0, 2)) {
    for (let layer = 0; layer < shape.layers; layer++) {
      for (const linear of COMPRESSOR_LINEARS) {
        const cols = linear === 0 ? factor * shape.headDim : shape.headDim;
        tensors.set(
          compressorTensor(kind, layer, linear, "weight"),
          f32Tensor([shape.headDim, cols], draw.normal(shape.headDim * cols, Math.sqrt(2 / cols))),
        );
        tensors.set(
          compressorTensor(kind, layer, linear, "bias"),
          f32Tensor([shape.headDim], draw.normal(shape.headDim, 0.3)),
        );
      }
    }
  }
  return { factor, minGroups, images, tensors };
}

function f32Tensor(shape: readonly number[], values: Float32Array): StoredTensor {
  const bytes = new Uint8Array(values.buffer);
  return { dtype: "f32", shape, read: (first, count) => bytes.slice(first, first + count) };
}

/** Values of one tensor of such a compressor. */
export function valuesOf({ tensors }: Compressor, name: string): Float32Array {
  const { shape, read } = tensors.get(name)!;
  return new Float32Array(read(0, 4 * shape.reduce((product, size) => product * size, 1)).buffer);
}
