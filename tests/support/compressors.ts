/** Compressors of random weights, as a file would hold them. */
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  compressorTensor,
  SPAN_KINDS,
  SPAN_NETWORKS,
  type SpanFactors,
  uniformFactors,
} from "../../lib/model/compressor.ts";
import type { StoredTensor } from "../../lib/model/safetensors.ts";
import type { Draw } from "./cases.ts";

/** Weights of about unit gain, f32: the same factor everywhere, pictures with networks or without, or factors of one's own. */
export function randomCompressor(
  draw: Draw,
  shape: { readonly layers: number; readonly headDim: number },
  facts: {
    readonly factor: number;
    readonly minGroups?: number;
    readonly images?: boolean;
    readonly factors?: SpanFactors;
  },
): Compressor {
  const { factor, minGroups = 2, factors = uniformFactors(factor, shape.layers, facts.images) } = facts;
  const tensors = new Map<string, StoredTensor>();
  const networks = SPAN_KINDS.flatMap((of) => SPAN_NETWORKS[of].map((kind) => ({ of, kind })));
  for (const { of, kind } of networks) {
    for (const [layer, own] of factors[of].entries()) {
      if (own === 1) continue;
      for (const linear of COMPRESSOR_LINEARS) {
        const cols = linear === 0 ? own * shape.headDim : shape.headDim;
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
  return { factor, minGroups, factors, tensors };
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
