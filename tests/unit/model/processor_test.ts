import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { llava } from "../../../lib/model/families/llava.ts";
import { JsonObject } from "../../../lib/model/json.ts";
import { readImageProcessor, readProcessor } from "../../../lib/model/processor.ts";
import { withFolder } from "../../support/model_files.ts";

function read(fields: Record<string, unknown>, tower: "clip" | "siglip" = "clip") {
  return readImageProcessor(new JsonObject("preprocessor_config.json", fields), tower);
}

Deno.test("readImageProcessor fills what CLIP's and SigLIP's files omit from the classes of transformers", () => {
  deepEqual(read({}), {
    family: "clip",
    resize: { shortestEdge: 224 },
    resample: "bicubic",
    crop: { height: 224, width: 224 },
    rescaleFactor: 1 / 255,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  });
  deepEqual(read({}, "siglip"), {
    family: "siglip",
    resize: { height: 224, width: 224 },
    resample: "bicubic",
    crop: null,
    rescaleFactor: 1 / 255,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
  });
});

Deno.test("readImageProcessor lets the file's class decide, whatever its suffix, before the tower", () => {
  for (const name of ["SiglipImageProcessor", "SiglipImageProcessorFast"]) {
    equal(read({ image_processor_type: name }, "clip").family, "siglip");
  }
  for (const name of ["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPFeatureExtractor"]) {
    equal(read({ feature_extractor_type: name }, "siglip").family, "clip");
  }
});

Deno.test("readImageProcessor reads sizes as numbers, short edges and both sides", () => {
  deepEqual(read({ size: 336 }).resize, { shortestEdge: 336 });
  deepEqual(read({ size: 384 }, "siglip").resize, { height: 384, width: 384 });
  deepEqual(read({ size: { shortest_edge: 336 } }).resize, { shortestEdge: 336 });
  deepEqual(read({ size: { height: 2, width: 3 } }).resize, { height: 2, width: 3 });
  deepEqual(read({ crop_size: 5 }).crop, { height: 5, width: 5 });
  deepEqual(read({ crop_size: { height: 5, width: 6 } }).crop, { height: 5, width: 6 });
});

Deno.test("readImageProcessor knows Pillow's filter codes", () => {
  const names = [0, 1, 2, 3, 4, 5].map((code) => read({ resample: code }).resample);
  deepEqual(names, ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]);
});

Deno.test("readImageProcessor leaves out the steps that are switched off", () => {
  const off = read({ do_resize: false, do_center_crop: false, do_rescale: false, do_normalize: false });
  deepEqual([off.resize, off.crop, off.rescaleFactor, off.mean, off.std], [null, null, null, null, null]);
});

const refused: readonly (readonly [fields: Record<string, unknown>, message: RegExp])[] = [
  [
    { image_processor_type: "LlavaNextImageProcessor" },
    /image_processor_type must be CLIPImageProcessor or SiglipImageProcessor, found "LlavaNext/,
  ],
  [{ resample: 6 }, /resample must be a code from 0 to 5, found 6/],
  [{ size: { longest_edge: 5 } }, /size must be a number, \{shortest_edge\} or \{height, width\}/],
  [{ size: { shortest_edge: 5, longest_edge: 9 } }, /size must be/],
  [{ size: "336" }, /size must be/],
  [
    { image_processor_type: "SiglipImageProcessor", size: { shortest_edge: 5 } },
    /size must be a number or \{height, width\}/,
  ],
  [{ image_mean: [0.5] }, /image_mean must be three numbers, found \[0\.5\]/],
  [{ image_std: ["a", "b", "c"] }, /image_std must be three numbers/],
];

for (const [fields, message] of refused) {
  Deno.test(`readImageProcessor refuses ${JSON.stringify(fields)}`, () => {
    throws(() => read(fields), { name: "StartError", message });
  });
}

const SIDE = { size: 64, crop_size: 64 };

/** A CLIP tower of 4 × 4 patches: 16 tokens a picture. */
function vision() {
  const fields = { vision_config: { image_size: 64, patch_size: 16 } };
  const { vision } = llava.readConfig(new JsonObject("config.json", fields));
  if (vision === null) throw new Error("LLaVA has a tower");
  return vision;
}

Deno.test("readProcessor takes image_processor of processor_config.json before preprocessor_config.json", async () => {
  const nested = { "processor_config.json": { image_processor: { ...SIDE, resample: 2 } } };
  await withFolder({ ...nested, "preprocessor_config.json": SIDE }, async (dir) => {
    equal((await readProcessor(dir, vision())).resample, "bilinear");
  });
  await withFolder({ "processor_config.json": {}, "preprocessor_config.json": SIDE }, async (dir) => {
    equal((await readProcessor(dir, vision())).resample, "bicubic");
  });
});

Deno.test("readProcessor accepts a token count that equals the tower's", async () => {
  const processor = {
    patch_size: 16,
    num_additional_image_tokens: 1,
    vision_feature_select_strategy: "default",
  };
  await withFolder({ "processor_config.json": processor, "preprocessor_config.json": SIDE }, async (dir) => {
    equal((await readProcessor(dir, vision())).family, "clip");
  });
});

const inconsistent: readonly (readonly [what: string, files: Record<string, object>, message: RegExp])[] = [
  ["no file about pictures", {}, /says nothing about its pictures: expected preprocessor_config\.json/],
  [
    "a crop of another size than the tower",
    { "preprocessor_config.json": { size: 64, crop_size: 32 } },
    /preprocessor_config\.json: crop_size must be 64 × 64/,
  ],
  [
    "pictures of any size",
    { "preprocessor_config.json": { size: 64, do_center_crop: false } },
    /preprocessor_config\.json: size must be 64 × 64/,
  ],
  [
    "another patch size",
    {
      "preprocessor_config.json": SIDE,
      "processor_config.json": { patch_size: 8, num_additional_image_tokens: 1 },
    },
    /processor_config\.json: .* give 64 tokens a picture, expected 16/,
  ],
  [
    "another select strategy",
    {
      "preprocessor_config.json": SIDE,
      "processor_config.json": {
        patch_size: 16,
        num_additional_image_tokens: 1,
        vision_feature_select_strategy: "full",
      },
    },
    /give 17 tokens a picture, expected 16/,
  ],
];

for (const [what, files, message] of inconsistent) {
  Deno.test(`readProcessor refuses ${what}`, async () => {
    await withFolder(files, (dir) => rejects(readProcessor(dir, vision()), { name: "StartError", message }));
  });
}
