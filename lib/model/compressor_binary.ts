/**
 * The binary format of a compressor, little-endian: a header of 44 bytes, metadata to skip, then per layer and kind
 * three linear layers, each `u32 rows, cols, has_bias`, the weight row-major [rows = out, cols = in], the bias.
 */
import { StartError } from "../core/errors.ts";
import { MATRIX_ELEMENT_BYTES, type MatrixDtype } from "../ops/tensor.ts";
import type { ByteSource } from "./byte_source.ts";
import {
  type Compressor,
  COMPRESSOR_KINDS,
  COMPRESSOR_LINEARS,
  compressorTensor,
  uniformFactors,
} from "./compressor.ts";
import type { StoredTensor } from "./safetensors.ts";

/** "MCVK" as its bytes lie. */
const MAGIC = 0x4b56_434d;
const VERSION = 1;
const HEADER_BYTES = 44;
const DTYPES: readonly MatrixDtype[] = ["f16", "bf16", "f32"];
/** Weights of one layer: three linear layers of each network, with or without those for images. */
const WEIGHTS_WITH_IMAGES = 12, WEIGHTS_OF_TEXT = 6;

export function isBinaryCompressor(bytes: ByteSource): boolean {
  return bytes.size >= 4 && new DataView(bytes.read(0, 4).buffer).getUint32(0, true) === MAGIC;
}

/** Throws StartError, naming the file, for a header that does not fit the model and for data that end early. */
export function readBinaryCompressor(
  bytes: ByteSource,
  model: { readonly layers: number; readonly headDim: number },
): Compressor {
  if (bytes.size < HEADER_BYTES) {
    throw new StartError(`${bytes.name} is truncated: its header has ${HEADER_BYTES} bytes`);
  }
  const header = new DataView(bytes.read(0, HEADER_BYTES).buffer);
  const word = (index: number) => header.getUint32(4 * index, true);
  const expect = (what: string, found: number, expected: readonly number[]) => {
    if (expected.includes(found)) return;
    throw new StartError(`${bytes.name}: ${what} is ${found}, expected ${expected.join(" or ")}`);
  };
  expect("version", word(1), [VERSION]);
  const dtype = DTYPES[header.getUint16(8, true)];
  if (dtype === undefined) {
    throw new StartError(
      `${bytes.name}: dtype is ${header.getUint16(8, true)}, expected 0 (f16), 1 (bf16) or 2 (f32)`,
    );
  }
  expect("number of layers", word(3), [model.layers]);
  expect("head dimension", word(5), [model.headDim]);
  const factor = word(7), minGroups = word(8);
  if (factor < 2) {
    throw new StartError(`${bytes.name}: the compression factor is ${factor}, expected 2 or more`);
  }
  if (minGroups < 1) {
    throw new StartError(`${bytes.name}: the least number of groups is 0, expected 1 or more`);
  }
  expect("number of weights a layer", word(9), [WEIGHTS_OF_TEXT, WEIGHTS_WITH_IMAGES]);
  const images = word(9) === WEIGHTS_WITH_IMAGES;
  const kinds = images ? COMPRESSOR_KINDS : COMPRESSOR_KINDS.slice(0, 2);
  const tensors = new Map<string, StoredTensor>();
  let at = HEADER_BYTES + word(10);
  for (let layer = 0; layer < model.layers; layer++) {
    for (const kind of kinds) {
      for (const linear of COMPRESSOR_LINEARS) {
        const entry = new DataView(bytes.read(at, 12).buffer);
        const [rows, cols, hasBias] = [0, 4, 8].map((offset) => entry.getUint32(offset, true));
        const name = (part: "weight" | "bias") => compressorTensor(kind, layer, linear, part);
        if (hasBias !== 1) throw new StartError(`${bytes.name}: "${name("weight")}" has no bias`);
        const weightBytes = rows * cols * MATRIX_ELEMENT_BYTES[dtype];
        tensors.set(name("weight"), stored(bytes, dtype, [rows, cols], at + 12));
        tensors.set(name("bias"), stored(bytes, dtype, [rows], at + 12 + weightBytes));
        at += 12 + weightBytes + rows * MATRIX_ELEMENT_BYTES[dtype];
      }
    }
  }
  if (at !== bytes.size) {
    throw new StartError(
      `${bytes.name} is ${
        at > bytes.size ? "truncated" : "too long"
      }: expected ${at} bytes, found ${bytes.size}`,
    );
  }
  return { factor, minGroups, factors: uniformFactors(factor, model.layers, images), tensors };
}

function stored(
  bytes: ByteSource,
  dtype: MatrixDtype,
  shape: readonly number[],
  start: number,
): StoredTensor {
  return { dtype, shape, read: (firstByte, count) => bytes.read(start + firstByte, count) };
}
