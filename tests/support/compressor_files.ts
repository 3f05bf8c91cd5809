/** Compressors' files as the two formats lay them out. */
import {
  type Compressor,
  COMPRESSOR_KINDS,
  COMPRESSOR_LINEARS,
  compressorTensor,
} from "../../lib/model/compressor.ts";
import { safetensorsBytes, type TensorFile } from "./model_files.ts";
import { valuesOf } from "./compressors.ts";

/** Tensors under their names behind `prefix`. */
export function compressorTensors(compressor: Compressor, prefix = ""): Record<string, TensorFile> {
  return Object.fromEntries(
    [...compressor.tensors].map(([name, { shape }]) => [
      `${prefix}${name}`,
      { dtype: "F32", shape, bytes: new Uint8Array(valuesOf(compressor, name).buffer) },
    ]),
  );
}

/** A safetensors file of several compressors, each under its factor's prefix. */
export function compressorsFile(compressors: readonly Compressor[]): Uint8Array {
  return safetensorsBytes(
    Object.assign({}, ...compressors.map((one) => compressorTensors(one, `factor_${one.factor}.`))),
  );
}

/** The binary format, f32; `metadata` are bytes that a reader skips. */
export function binaryCompressor(
  compressor: Compressor,
  shape: { readonly layers: number; readonly headDim: number },
  metadata = new Uint8Array(0),
): Uint8Array<ArrayBuffer> {
  const kinds = COMPRESSOR_KINDS.filter((kind) =>
    compressor.tensors.has(compressorTensor(kind, 0, 0, "weight"))
  );
  const parts: Uint8Array[] = [];
  const words = (...values: number[]) => parts.push(new Uint8Array(Uint32Array.from(values).buffer));
  const F32 = 2;
  words(0x4b56_434d, 1, F32, shape.layers, 0, shape.headDim, 64, compressor.factor, compressor.minGroups);
  words(3 * kinds.length, metadata.length);
  parts.push(metadata);
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const kind of kinds) {
      for (const linear of COMPRESSOR_LINEARS) {
        const name = compressorTensor(kind, layer, linear, "weight");
        words(...compressor.tensors.get(name)!.shape, 1);
        parts.push(new Uint8Array(valuesOf(compressor, name).buffer));
        parts.push(
          new Uint8Array(valuesOf(compressor, compressorTensor(kind, layer, linear, "bias")).buffer),
        );
      }
    }
  }
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
