/** A training's state in a file, so that a run that was cut short goes on; and the finished weights. */
import { StartError } from "../core/errors.ts";
import type { SpanFactors } from "../model/compressor.ts";
import { openFile } from "../model/byte_source.ts";
import { openCompressor } from "../model/compressor_file.ts";
import { Safetensors } from "../model/safetensors.ts";
import { safetensors, type WrittenTensor } from "../model/safetensors_writer.ts";
import { MATRIX_ELEMENT_BYTES } from "../ops/tensor.ts";
import { widen } from "../ops/widen.ts";
import type { Trainer } from "./trainer.ts";

/** What a resumed run must share with the one it goes on from. */
export interface RunIdentity {
  readonly factor: number;
  readonly steps: number;
  readonly seed: number;
  readonly factors: SpanFactors;
}

/** Parameters and both moments, by the names of their tensors. */
function state({ compressor, adam }: Trainer): Map<string, WrittenTensor> {
  const tensors = new Map<string, WrittenTensor>();
  for (const [i, { name, shape, values }] of compressor.parameters.entries()) {
    tensors.set(`value.${name}`, { dtype: "F32", shape, values });
    tensors.set(`first.${name}`, { dtype: "F32", shape, values: adam.first[i] });
    tensors.set(`second.${name}`, { dtype: "F32", shape, values: adam.second[i] });
  }
  return tensors;
}

export async function saveCheckpoint(path: string, trainer: Trainer, run: RunIdentity): Promise<void> {
  const { factor, steps, seed, factors: { text, image } } = run;
  const values = Float32Array.of(factor, steps, seed, trainer.adam.steps, ...text, ...image);
  const entry: WrittenTensor = { dtype: "F32", shape: [values.length], values };
  await replace(path, new Map([...state(trainer), ["run", entry]]));
}

/** Puts a trainer where the file's left off; false when there is no file. Throws StartError for another run's. */
export function resumeCheckpoint(path: string, trainer: Trainer, run: RunIdentity): boolean {
  const bytes = openFile(path);
  if (bytes === null) return false;
  const file = new Safetensors(bytes);
  const values = (name: string) => {
    const { dtype, shape, read } = file.tensor(name);
    return widen(
      dtype,
      read(0, MATRIX_ELEMENT_BYTES[dtype] * shape.reduce((product, size) => product * size, 1)),
    );
  };
  const [factor, steps, seed, taken, ...factors] = values("run");
  const same = factor === run.factor && steps === run.steps && seed === run.seed &&
    `${factors}` === `${[...run.factors.text, ...run.factors.image]}`;
  if (!same) {
    throw new StartError(
      `${path} is of a run of factor ${factor}, by layer ${factors}, ${steps} steps and seed ${seed}: ` +
        "give the same ones, or remove it",
    );
  }
  for (const [name, { values: into }] of state(trainer)) into.set(values(name));
  trainer.adam.steps = taken;
  return true;
}

/** Writes a finished compressor among those of other factors that the file has already. */
export async function writeCompressor(path: string, { compressor }: Trainer): Promise<void> {
  const { facts, shape, parameters } = compressor;
  const tensors = new Map<string, WrittenTensor>();
  for (const other of openCompressor(path, shape) ?? []) {
    if (other.factor === facts.factor) continue;
    for (const [name, { dtype, shape, read }] of other.tensors) {
      const bytes = MATRIX_ELEMENT_BYTES[dtype] * shape.reduce((product, size) => product * size, 1);
      tensors.set(`factor_${other.factor}.${name}`, {
        dtype: "F16",
        shape,
        values: widen(dtype, read(0, bytes)),
      });
    }
  }
  for (const { name, shape, values } of parameters) {
    tensors.set(`factor_${facts.factor}.${name}`, { dtype: "F16", shape, values });
  }
  await replace(path, tensors);
}

/** Writes beside the file and takes its place: it is whole at every moment. */
async function replace(path: string, tensors: ReadonlyMap<string, WrittenTensor>): Promise<void> {
  try {
    await Deno.writeFile(`${path}.new`, safetensors(tensors));
    await Deno.rename(`${path}.new`, path);
  } catch (error) {
    throw new StartError(`cannot write ${path}: ${error instanceof Error ? error.message : error}`);
  }
}
