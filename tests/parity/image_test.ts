/** Pictures against what transformers makes of them: decoded, resized and cropped, normalised. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { decodePicture } from "../../lib/image/decode.ts";
import type { ImageProcessorConfig, Picture } from "../../lib/image/image.ts";
import { normalise } from "../../lib/image/normalise.ts";
import { startPreparer } from "../../lib/image/preparer.ts";
import { fit } from "../../lib/image/preprocess/mod.ts";

const FOLDER = new URL("../fixtures/llava-tiny/", import.meta.url);

interface Reference {
  readonly images: Readonly<Record<string, { decoded_size: [number, number]; decoded_rgb_sha256: string }>>;
}

interface TensorEntry {
  readonly shape: readonly number[];
  readonly data_offsets: readonly [start: number, end: number];
}

type TensorBytes = Map<string, { shape: readonly number[]; bytes: Uint8Array<ArrayBuffer> }>;

function readJson<T>(name: string): T {
  return JSON.parse(Deno.readTextFileSync(new URL(name, FOLDER))) as T;
}

function readTensors(name: string): TensorBytes {
  const file = Deno.readFileSync(new URL(name, FOLDER));
  const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes))) as Record<
    string,
    TensorEntry
  >;
  const tensors: TensorBytes = new Map();
  for (const [key, { shape, data_offsets }] of Object.entries(header)) {
    if (key === "__metadata__") continue;
    const [start, end] = data_offsets;
    tensors.set(key, { shape, bytes: file.slice(8 + headerBytes + start, 8 + headerBytes + end) });
  }
  return tensors;
}

function readConfig(): ImageProcessorConfig {
  const json = readJson<{
    size: { shortest_edge: number };
    crop_size: { height: number; width: number };
    rescale_factor: number;
    image_mean: number[];
    image_std: number[];
  }>("preprocessor_config.json");
  return {
    family: "clip",
    resize: { shortestEdge: json.size.shortest_edge },
    resample: "bicubic",
    crop: json.crop_size,
    rescaleFactor: json.rescale_factor,
    mean: json.image_mean,
    std: json.image_std,
  };
}

const config = readConfig();
const { images } = readJson<Reference>("reference.json");
const preprocessed = readTensors("preprocessed.safetensors");
const readImage = (name: string) => Deno.readFileSync(new URL(`images/${name}`, FOLDER));

/** A planar [1, 3, h, w] tensor of 8-bit values as a picture. */
function pictureOf({ shape, bytes }: { shape: readonly number[]; bytes: Uint8Array }): Picture {
  const [count, channels, height, width] = shape;
  deepEqual([count, channels], [1, 3]);
  const plane = height * width;
  const rgb = Uint8Array.from({ length: 3 * plane }, (_, i) => bytes[(i % 3) * plane + Math.floor(i / 3)]);
  return { width, height, rgb };
}

for (const [name, { decoded_size, decoded_rgb_sha256 }] of Object.entries(images)) {
  Deno.test(`decodePicture gives ${name} the reference's RGB bytes`, async () => {
    const { width, height, rgb } = await decodePicture(readImage(name));
    deepEqual([width, height], decoded_size);
    equal(createHash("sha256").update(rgb).digest("hex"), decoded_rgb_sha256);
  });

  Deno.test(`fit gives ${name} every value of the reference`, async () => {
    deepEqual(fit(await decodePicture(readImage(name)), config), pictureOf(preprocessed.get(name)!));
  });
}

Deno.test("normalise turns the reference's 8-bit values into its pixel_values", () => {
  const name = firstPicture();
  const { pixels } = normalise(pictureOf(preprocessed.get(name)!), config);
  const expected = pixelValues();
  equal(pixels.length, expected.length);
  const largest = pixels.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
  ok(largest <= 1e-6, `differs by ${largest}`);
});

Deno.test("prepare comes within one 8-bit level of the reference's pixel_values", async () => {
  const preparer = startPreparer(config, { threads: 1 });
  try {
    const { pixels, width, height } = await preparer.prepare(readImage(firstPicture()), "image");
    deepEqual({ height, width }, { height: config.crop!.height, width: config.crop!.width });
    const expected = pixelValues();
    const level = 1 / (255 * Math.min(...config.std!)); // the two backends of the reference differ by so much
    const largest = pixels.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0);
    ok(largest <= level * 1.001, `differs by ${largest}`);
  } finally {
    await preparer.close();
  }
});

/** The file name of the first case's picture; the intermediates are of that case. */
function firstPicture(): string {
  type Part = { type: string; image_url?: { url: string } };
  const [{ messages }] = readJson<{ messages: { content: string | Part[] }[] }[]>("cases.json");
  const urls = messages.flatMap(({ content }) => typeof content === "string" ? [] : content)
    .flatMap(({ image_url }) => image_url ? [image_url.url] : []);
  equal(urls.length, 1, "the first case has one picture");
  return urls[0].replace("images/", "");
}

function pixelValues(): Float32Array {
  return new Float32Array(readTensors("intermediates.safetensors").get("pixel_values")!.bytes.buffer);
}
