/** How a model wants its pictures: preprocessor_config.json, or its part in processor_config.json. */
import { StartError } from "../core/errors.ts";
import type { ImageProcessorConfig } from "../image/image.ts";
import type { VisionConfig } from "./config.ts";
import { isNumber, isString, type JsonObject, readJson } from "./json.ts";

type Family = ImageProcessorConfig["family"];
type Size = { readonly height: number; readonly width: number };
type Resize = NonNullable<ImageProcessorConfig["resize"]>;

/** Pillow's codes. */
const RESAMPLE: readonly ImageProcessorConfig["resample"][] = [
  "nearest",
  "lanczos",
  "bilinear",
  "bicubic",
  "box",
  "hamming",
];
const BICUBIC = 3;

/** What the processor classes of transformers assume where the file says nothing. */
interface ProcessorDefaults {
  readonly resize: Resize;
  readonly crop: boolean;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

const SIDE = 224;

const DEFAULTS: Readonly<Record<Family, ProcessorDefaults>> = {
  clip: {
    resize: { shortestEdge: SIDE },
    crop: true,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  },
  siglip: {
    resize: { height: SIDE, width: SIDE },
    crop: false,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
  },
};

/**
 * Reads the files of `dir` and checks them against the tower: its pictures must come out at the tower's size, with as
 * many tokens as the engine makes features. Throws StartError naming the file and the field.
 */
export async function readProcessor(dir: string, vision: VisionConfig): Promise<ImageProcessorConfig> {
  const processor = await readJson(`${dir}/processor_config.json`);
  const images = processor?.object("image_processor") ?? await readJson(`${dir}/preprocessor_config.json`);
  if (images === null) {
    throw new StartError(
      `${dir} says nothing about its pictures: expected preprocessor_config.json, or image_processor in processor_config.json`,
    );
  }
  const config = readImageProcessor(images, vision.tower);
  checkSize(images, config, vision);
  if (processor !== null) checkTokens(processor, vision);
  return config;
}

/** Reads one image processor's settings; `tower` decides where they name no class. Throws StartError. */
export function readImageProcessor(config: JsonObject, tower: Family): ImageProcessorConfig {
  const family = readFamily(config, tower);
  const defaults = DEFAULTS[family];
  const code = config.integer("resample", BICUBIC);
  if (code >= RESAMPLE.length) config.fail("resample", `a code from 0 to ${RESAMPLE.length - 1}`);
  const normalised = config.boolean("do_normalize", true);
  return {
    family,
    resize: config.boolean("do_resize", true) ? readResize(config, family, defaults) : null,
    resample: RESAMPLE[code],
    crop: config.boolean("do_center_crop", defaults.crop) ? readCrop(config) : null,
    rescaleFactor: config.boolean("do_rescale", true) ? config.number("rescale_factor", 1 / 255) : null,
    mean: normalised ? readChannels(config, "image_mean", defaults.mean) : null,
    std: normalised ? readChannels(config, "image_std", defaults.std) : null,
  };
}

/** Old files name a feature extractor; the faster variants of a class carry a suffix. */
function readFamily(config: JsonObject, tower: Family): Family {
  const key = config.has("image_processor_type") ? "image_processor_type" : "feature_extractor_type";
  if (!config.has(key)) return tower;
  const [named] = config.list(key, isString, "a class name") ?? [];
  if (/^CLIP(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/.test(named)) return "clip";
  if (/^SiglipImageProcessor(Fast|Pil)?$/.test(named)) return "siglip";
  return config.fail(key, "CLIPImageProcessor or SiglipImageProcessor");
}

function readResize(config: JsonObject, family: Family, defaults: ProcessorDefaults): Resize {
  const expected = family === "clip"
    ? "a number, {shortest_edge} or {height, width}"
    : "a number or {height, width}";
  if (!config.has("size")) return defaults.resize;
  if (isNumber(config.value("size"))) {
    const side = config.integer("size", undefined, 1);
    return family === "clip" ? { shortestEdge: side } : { height: side, width: side };
  }
  const size = config.object("size") ?? config.fail("size", expected);
  if (size.has("height") && size.has("width")) return readSides(size);
  const keys = size.keys();
  if (family === "clip" && keys.length === 1 && keys[0] === "shortest_edge") {
    return { shortestEdge: size.integer("shortest_edge", undefined, 1) };
  }
  return config.fail("size", expected);
}

function readCrop(config: JsonObject): Size {
  if (!config.has("crop_size")) return { height: SIDE, width: SIDE };
  if (isNumber(config.value("crop_size"))) {
    const side = config.integer("crop_size", undefined, 1);
    return { height: side, width: side };
  }
  return readSides(config.object("crop_size") ?? config.fail("crop_size", "a number or {height, width}"));
}

function readSides(size: JsonObject): Size {
  return { height: size.integer("height", undefined, 1), width: size.integer("width", undefined, 1) };
}

function readChannels(config: JsonObject, key: string, fallback: readonly number[]): readonly number[] {
  const channels = config.list(key, isNumber, "three numbers") ?? fallback;
  return channels.length === 3 ? channels : config.fail(key, "three numbers");
}

/** Every picture must come out as the tower's square, whatever its own shape. */
function checkSize(images: JsonObject, config: ImageProcessorConfig, vision: VisionConfig): void {
  const resized = config.resize !== null && "height" in config.resize ? config.resize : null;
  const size = config.crop ?? resized;
  const key = config.crop === null ? "size" : "crop_size";
  const side = vision.imageSize;
  if (size === null || size.height !== side || size.width !== side) {
    images.fail(key, `${side} × ${side}, the tower's image_size in config.json`);
  }
}

/** The prompt gets one placeholder a feature; the files of a directory can disagree about their number. */
function checkTokens(processor: JsonObject, vision: VisionConfig): void {
  if (!processor.has("patch_size") || !processor.has("num_additional_image_tokens")) return;
  const rows = Math.floor(vision.imageSize / processor.integer("patch_size", undefined, 1)) ** 2 +
    processor.integer("num_additional_image_tokens");
  const strategy = processor.string("vision_feature_select_strategy", vision.selectStrategy);
  const tokens = strategy === "default" ? rows - 1 : rows;
  if (tokens !== vision.imageTokens) {
    throw new StartError(
      `${processor.file}: patch_size, num_additional_image_tokens and vision_feature_select_strategy give ${tokens} tokens a picture, expected ${vision.imageTokens} as config.json says`,
    );
  }
}
