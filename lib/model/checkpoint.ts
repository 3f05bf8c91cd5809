/** The weights of a model directory: one safetensors file, or shards with an index. */
import { StartError } from "../core/errors.ts";
import { openFile } from "./byte_source.ts";
import { readJson } from "./json.ts";
import { Safetensors, type StoredTensor } from "./safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

export class Checkpoint {
  /** `file` is what a message names for a tensor that is in none of the shards. */
  constructor(readonly file: string, private readonly shards: ReadonlyMap<string, Safetensors>) {}

  has(name: string): boolean {
    return this.shards.has(name);
  }

  /** Throws StartError when the tensor is absent or its type has no use here. */
  tensor(name: string): StoredTensor {
    return this.#shard(name).tensor(name);
  }

  /** The file that holds a tensor. */
  fileOf(name: string): string {
    return this.#shard(name).bytes.name;
  }

  #shard(name: string): Safetensors {
    const shard = this.shards.get(name);
    if (shard === undefined) throw new StartError(`${this.file}: tensor "${name}" is missing`);
    return shard;
  }
}

/** Reads and checks the headers of all files. Throws StartError naming the file that is missing or wrong. */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const single = openFile(`${dir}/${SINGLE}`);
  if (single !== null) {
    const file = new Safetensors(single);
    return new Checkpoint(single.name, new Map(file.names().map((name) => [name, file])));
  }
  const index = await readJson(`${dir}/${INDEX}`);
  if (index === null) {
    throw new StartError(`${dir} has no weights: expected ${SINGLE}, or shards with ${INDEX}`);
  }
  const weightMap = index.object("weight_map") ??
    index.fail("weight_map", "an object of tensors and their files");
  const files = new Map<string, Safetensors>();
  const shards = new Map<string, Safetensors>();
  for (const name of weightMap.keys()) {
    const fileName = weightMap.string(name);
    let shard = files.get(fileName);
    if (shard === undefined) {
      shard = openShard(dir, fileName, index.file);
      files.set(fileName, shard);
    }
    if (!shard.has(name)) {
      throw new StartError(
        `${shard.bytes.name}: tensor "${name}" is missing, but ${index.file} says it is there`,
      );
    }
    shards.set(name, shard);
  }
  return new Checkpoint(index.file, shards);
}

function openShard(dir: string, fileName: string, index: string): Safetensors {
  const bytes = openFile(`${dir}/${fileName}`);
  if (bytes === null) throw new StartError(`${dir}/${fileName} is missing, but ${index} names it`);
  return new Safetensors(bytes);
}
