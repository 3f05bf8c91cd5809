/**
 * A compressor's file, in one of two formats: safetensors with the names of compressor.ts, and the binary one
 * (compressor_binary.ts). A safetensors file may hold several factors, each under a prefix `factor_<f>.`; without a
 * prefix it holds one, which its shapes tell. Under its prefix f is what requests name: shapes tell what becomes one in
 * each layer.
 */
import { assert } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import { type ByteSource, openFile } from "./byte_source.ts";
import {
  type Compressor,
  COMPRESSOR_LINEARS,
  type CompressorKind,
  compressorTensor,
  FACTOR_MAX,
  MIN_GROUPS_DEFAULT,
  SPAN_KINDS,
  SPAN_NETWORKS,
  type SpanFactors,
  type SpanKind,
  whyOutOfReach,
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
    checkTensors(bytes, "", compressor, model);
    return [compressor];
  }
  const file = new Safetensors(bytes);
  const compressors = [...byFactor(file)].map(([prefix, tensors]) => {
    const compressor = fromTensors(bytes, prefix, tensors, model);
    checkTensors(bytes, prefix, compressor, model);
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
    const match = /^(factor_\d+\.)?(compress_(?:tk|tv|ik|iv)\.\d+\..+)$/.exec(name);
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
  model: Shape,
): Compressor {
  const factors = factorsOf(bytes, prefix, tensors, model);
  const nominal = /\d+/.exec(prefix)?.[0];
  const first = [...factors.text, ...factors.image].find((factor) => factor > 1);
  assert(first !== undefined, "a compressor was found by its tensors");
  const factor = nominal === undefined ? first : Number(nominal);
  if (factor < 2) throw new StartError(`${bytes.name}: "${prefix}" names no factor: 2 is the least`);
  const why = whyOutOfReach(factor, factors);
  if (why !== null) {
    throw new StartError(`${bytes.name}: "${prefix}" names ${factor} slots to one, but ${why}`);
  }
  return { factor, minGroups: MIN_GROUPS_DEFAULT, factors, tensors };
}

/** The factors that the first weights tell. Layers without tensors of a kind leave its spans as they are. */
function factorsOf(
  bytes: ByteSource,
  prefix: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  { layers, headDim }: Shape,
): SpanFactors {
  for (const name of tensors.keys()) {
    if (Number(name.split(".")[1]) < layers) continue;
    throw new StartError(`${bytes.name} has more layers than this model's ${layers}: "${prefix}${name}"`);
  }
  const factor = (kind: SpanKind, layer: number) => {
    const names = SPAN_NETWORKS[kind].flatMap((of) => tensorsOf(of, layer));
    if (!names.some(({ name }) => tensors.has(name))) return 1;
    const [{ name }] = names, first = tensors.get(name);
    if (first === undefined) throw missing(bytes, prefix + name);
    const factor = first.shape[1] / headDim;
    if (factor > FACTOR_MAX) {
      throw new StartError(
        `${bytes.name}: tensor "${prefix}${name}" makes ${factor} slots one, more than ${FACTOR_MAX}`,
      );
    }
    if (Number.isInteger(factor) && factor >= 2) return factor;
    throw new StartError(
      `${bytes.name}: tensor "${prefix}${name}" has ${first.shape[1]} columns, expected a multiple of this ` +
        `model's head size ${headDim}, twice or more`,
    );
  };
  const byLayer = (kind: SpanKind) => Array.from({ length: layers }, (_, layer) => factor(kind, layer));
  return { text: byLayer("text"), image: byLayer("image") };
}

/** The tensors of a network, the first weight first; `first`: its inputs are a group's. */
function tensorsOf(kind: CompressorKind, layer: number) {
  return COMPRESSOR_LINEARS.flatMap((linear) =>
    (["weight", "bias"] as const).map((part) => (
      { name: compressorTensor(kind, layer, linear, part), part, first: linear === 0 }
    ))
  );
}

/** Throws StartError for a tensor that is missing or of a shape that does not fit the model or the layer's factor. */
function checkTensors(bytes: ByteSource, prefix: string, compressor: Compressor, { headDim }: Shape): void {
  const { factor: nominal, factors, tensors } = compressor;
  if (nominal > FACTOR_MAX) {
    throw new StartError(`${bytes.name}: the compression factor is ${nominal}, more than ${FACTOR_MAX}`);
  }
  for (const kind of SPAN_KINDS) {
    for (const [layer, factor] of factors[kind].entries()) {
      if (factor === 1) continue;
      for (const { name, part, first } of SPAN_NETWORKS[kind].flatMap((of) => tensorsOf(of, layer))) {
        const tensor = tensors.get(name), cols = first ? factor * headDim : headDim;
        const expected = part === "bias" ? [headDim] : [headDim, cols];
        if (tensor === undefined) throw missing(bytes, prefix + name);
        const { shape } = tensor;
        if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) continue;
        throw new StartError(
          `${bytes.name}: tensor "${prefix}${name}" is [${shape.join(", ")}], expected [${
            expected.join(", ")
          }] for this model and ${factor} slots to one, keys and values alike`,
        );
      }
    }
  }
}

function missing(bytes: ByteSource, name: string): StartError {
  return new StartError(`${bytes.name}: tensor "${name}" is missing`);
}
