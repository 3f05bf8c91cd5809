/** Which weights the results of a sweep are of, noted beside them: with others its cells would not compare. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { StartError } from "../../core/errors.ts";
import { COMPRESSOR_FILE } from "../../model/directory.ts";

const NOTE_FILE = "sweep.weights";

/**
 * Lines of a file's name and the SHA-256 of its bytes: the weights of a model directory, and of its compressor or the one in the file
 * `compressor`. Throws StartError for a file that cannot be read.
 */
export async function weightsOf(modelDir: string, compressor: string | null): Promise<string> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(modelDir)) {
    if (name.endsWith(".safetensors") && (name !== COMPRESSOR_FILE || compressor === null)) names.push(name);
  }
  const files = names.sort().map((name) => ({ name, path: join(modelDir, name) }));
  if (compressor !== null) files.push({ name: COMPRESSOR_FILE, path: compressor });
  const lines: string[] = [];
  for (const { name, path } of files) lines.push(`${name} ${await digestOf(path)}\n`);
  return lines.sort().join("");
}

/**
 * Notes the weights in a folder of results, or throws StartError when it has results of others. Results without a note, from before
 * there were notes, are taken to be of these weights.
 */
export async function noteWeights(folder: string, weights: string): Promise<void> {
  const path = join(folder, NOTE_FILE);
  let noted: string;
  try {
    noted = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await Deno.writeTextFile(path, weights);
    return;
  }
  if (noted !== weights) {
    throw new StartError(`${folder} has results of another model or compressor: take another --out`);
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    const file = await Deno.open(path);
    for await (const bytes of file.readable) hash.update(bytes);
  } catch (error) {
    throw new StartError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
  return hash.digest("hex");
}
