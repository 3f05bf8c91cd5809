/** A model directory as Hugging Face lays it out: settings read and checked, weights ready to be read. */
import { StartError } from "../core/errors.ts";
import type { ImageProcessorConfig } from "../image/image.ts";
import { Checkpoint, openCheckpoint } from "./checkpoint.ts";
import type { Compressor } from "./compressor.ts";
import { openCompressor } from "./compressor_file.ts";
import type { GenerationDefaults, ModelConfig, WeightNames } from "./config.ts";
import { dummyCheckpoint } from "./dummy.ts";
import { familyOf } from "./families/mod.ts";
import { readGeneration } from "./generation.ts";
import { readJson } from "./json.ts";
import { readProcessor } from "./processor.ts";
import { requiredTensors, resolveNames, validateWeights } from "./weights.ts";

export interface LoadedModel {
  readonly dir: string;
  readonly config: ModelConfig;
  readonly names: WeightNames;
  readonly source: Checkpoint;
  readonly generation: GenerationDefaults;
  /** null for a text-only model. */
  readonly images: ImageProcessorConfig | null;
  /** Of the learned method, by ascending factor. */
  readonly compressors: readonly Compressor[];
}

/** Weights from the directory's files, or random ones of its config's shapes. */
export type LoadFormat = "auto" | "dummy";

/** Beside the weights, when there is one. */
export const COMPRESSOR_FILE = "compressor.safetensors";

/**
 * Reads the settings and the headers of the weight files; no weights yet, and no file stays open. Throws StartError
 * with one message for a directory that is missing, broken, incomplete, or of a kind that cannot be served. `compressor`
 * names a compressor's file elsewhere.
 */
export async function openModel(
  directory: string,
  format: LoadFormat = "auto",
  compressor: string | null = null,
): Promise<LoadedModel> {
  const dir = directory.replace(/(?<=.)[/\\]+$/, "");
  await requireDirectory(dir);
  const json = await readJson(`${dir}/config.json`);
  if (json === null) throw new StartError(`${dir} is not a model directory: config.json is missing`);
  const family = familyOf(json);
  if (json.has("quantization_config")) {
    json.fail("quantization_config", "absent: quantised weights are not supported");
  }
  const read = family.readConfig(json);
  const generation = readGeneration(await readJson(`${dir}/generation_config.json`));
  const config = { ...read, eosTokenIds: generation.eosTokenIds ?? read.eosTokenIds };
  const nothing = new Checkpoint(dir, new Map());
  const source = format === "dummy"
    ? dummyCheckpoint(dir, requiredTensors(config, resolveNames(family.prefixes, config, nothing)))
    : await openCheckpoint(dir);
  const names = resolveNames(family.prefixes, config, source);
  validateWeights(config, names, source);
  const images = config.vision === null ? null : await readProcessor(dir, config.vision);
  const compressors = openCompressor(compressor ?? `${dir}/${COMPRESSOR_FILE}`, config.text);
  if (compressors === null && compressor !== null) {
    throw new StartError(`--compressor: ${compressor} does not exist`);
  }
  return {
    ...{ dir, config, names, source, images, generation: generation.defaults },
    compressors: compressors ?? [],
  };
}

async function requireDirectory(dir: string): Promise<void> {
  let found: Deno.FileInfo;
  try {
    found = await Deno.stat(dir);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new StartError(`${dir} does not exist`);
    throw new StartError(`${dir} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  if (!found.isDirectory) {
    throw new StartError(`${dir} is not a directory: a model is a folder with config.json`);
  }
}
