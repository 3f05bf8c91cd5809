/**
 * A compressor's file, in one of two formats: safetensors with the names of compressor.ts, and the binary one
 * (compressor_binary.ts). A safetensors file may hold several factors, each under a prefix `factor_<f>.`; without a
 * prefix it holds one, which its shapes tell.
 */
import { StartError } from "../core/errors.ts";
import { type ByteSource, openFile } from "./byte_source.ts";
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  compressorTensor,
  FACTOR_MAX,
  kindsOf,
  MIN_GROUPS_DEFAULT,
} from "./compressor.ts";
import { isBinaryCompressor, readBinaryCompressor } from "./compressor_binary.ts";
import type { TextConfig } from "./config.ts";
import { Safetensors, type StoredTensor } from "./safetensors.ts";

type Shape = Pick<TextConfig, "layers" | "headDim">;

/** The compressors of a file, by ascending factor; null when there is no such file. Throws StartError naming the file. */
export function openCompressor(path: string, model: Shape): Compressor[] | null {
  const bytes = openFile(path);
  if (bytes === null) return null;
  if (isBinaryCompressor(bytes)) {
    const compressor = readBinaryCompressor(bytes, model);
    checkTensors(bytes, compressor, model);
    return [compressor];
  }
  const file = new Safetensors(bytes);
  const compressors = [...byFactor(file)].map(([prefix, tensors]) => {
    const compressor = fromTensors(bytes, prefix, tensors, model);
    checkTensors(bytes, compressor, model);
    return compressor;
  });
  if (compressors.length === 0) {
    throw new StartError(`${bytes.name} holds no compressor: no tensor compress_tk.0.0.weight`);
  }
  return compressors.sort((a, b) => a.factor - b.factor);
}

/** Tensors by the prefix of their factor, under their names without it. */
function byFactor(file: Safetensors): Map<string, Map<string, StoredTensor>> {
  const found = new Map<string, Map<string, StoredTensor>>();
  for (const name of file.names()) {
    const match = /^(factor_\d+\.)?(compress_(?:tk|tv|ik|iv)\..+)$/.exec(name);
    if (match === null) continue;
    const prefix = match[1] ?? "";
    const tensors = found.get(prefix) ?? new Map<string, StoredTensor>();
    tensors.set(match[2], file.tensor(name));
    found.set(prefix, tensors);
  }
  return found;
}

function fromTensors(
  bytes: ByteSource,
  prefix: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  { headDim }: Shape,
): Compressor {
  const name = compressorTensor("tk", 0, 0, "weight");
  const first = tensors.get(name);
  if (first === undefined) throw new StartError(`${bytes.name}: tensor "${prefix}${name}" is missing`);
  const factor = first.shape[1] / headDim;
  if (!Number.isInteger(factor) || factor < 2) {
    throw new StartError(
      `${bytes.name}: tensor "${prefix}${name}" has ${first.shape[1]} columns, expected a multiple of this ` +
        `model's head size ${headDim}, twice or more`,
    );
  }
  if (prefix !== "" && prefix !== `factor_${factor}.`) {
    throw new StartError(`${bytes.name}: tensor "${prefix}${name}" is of factor ${factor}`);
  }
  const images = tensors.has(compressorTensor("ik", 0, 0, "weight"));
  return { factor, minGroups: MIN_GROUPS_DEFAULT, images, tensors };
}

/** Throws StartError for a tensor that is missing or of a shape that does not fit the model. */
function checkTensors(bytes: ByteSource, compressor: Compressor, { layers, headDim }: Shape): void {
  const { factor, tensors } = compressor;
  if (factor > FACTOR_MAX) {
    throw new StartError(`${bytes.name}: the compression factor is ${factor}, more than ${FACTOR_MAX}`);
  }
  for (const kind of kindsOf(compressor)) {
    for (let layer = 0; layer < layers; layer++) {
      for (const linear of COMPRESSOR_LINEARS) {
        const cols = linear === 0 ? factor * headDim : headDim;
        expectShape(bytes, tensors, compressorTensor(kind, layer, linear, "weight"), [headDim, cols]);
        expectShape(bytes, tensors, compressorTensor(kind, layer, linear, "bias"), [headDim]);
      }
    }
    const beyond = compressorTensor(kind, layers, 0, "weight");
    if (tensors.has(beyond)) {
      throw new StartError(`${bytes.name} has more layers than this model's ${layers}: "${beyond}"`);
    }
  }
}

function expectShape(
  bytes: ByteSource,
  tensors: ReadonlyMap<string, StoredTensor>,
  name: string,
  shape: readonly number[],
): void {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new StartError(`${bytes.name}: tensor "${name}" is missing`);
  if (tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i])) return;
  throw new StartError(
    `${bytes.name}: tensor "${name}" is [${tensor.shape.join(", ")}], expected [${
      shape.join(", ")
    }] for this model`,
  );
}
