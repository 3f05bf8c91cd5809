import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { openFile } from "../../../lib/model/byte_source.ts";
import { openCheckpoint } from "../../../lib/model/checkpoint.ts";
import { safetensorsBytes, withFolder, zeros } from "../../support/model_files.ts";

const shard = safetensorsBytes({ a: zeros([2]) });
const other = safetensorsBytes({ b: zeros([3]) });

Deno.test("openCheckpoint finds every tensor of a single file", async () => {
  await withFolder({ "model.safetensors": shard }, async (dir) => {
    const checkpoint = await openCheckpoint(dir);
    equal(checkpoint.has("a"), true);
    equal(checkpoint.has("b"), false);
    deepEqual(checkpoint.tensor("a").shape, [2]);
    equal(checkpoint.fileOf("a"), `${dir}/model.safetensors`);
    throws(() => checkpoint.tensor("b"), /model\.safetensors: tensor "b" is missing/);
  });
});

Deno.test("openCheckpoint follows the index to the shards", async () => {
  const index = { metadata: { total_size: 20 }, weight_map: { a: "1.safetensors", b: "2.safetensors" } };
  const files = { "1.safetensors": shard, "2.safetensors": other, "model.safetensors.index.json": index };
  await withFolder(files, async (dir) => {
    const checkpoint = await openCheckpoint(dir);
    deepEqual(checkpoint.tensor("b").shape, [3]);
    equal(checkpoint.fileOf("b"), `${dir}/2.safetensors`);
    throws(() => checkpoint.tensor("c"), /index\.json: tensor "c" is missing/);
  });
});

const incomplete:
  readonly (readonly [what: string, files: Record<string, Uint8Array | object>, message: RegExp])[] = [
    ["no weights", {}, /has no weights: expected model\.safetensors/],
    [
      "a missing shard",
      { "model.safetensors.index.json": { weight_map: { a: "1.safetensors" } } },
      /1\.safetensors is missing, but .*index\.json names it/,
    ],
    [
      "a shard without its tensor",
      { "2.safetensors": other, "model.safetensors.index.json": { weight_map: { a: "2.safetensors" } } },
      /2\.safetensors: tensor "a" is missing, but .*index\.json says it is there/,
    ],
    [
      "an index without a map",
      { "model.safetensors.index.json": {} },
      /weight_map must be an object of tensors and their files, found nothing/,
    ],
    [
      "an index with wrong names",
      { "model.safetensors.index.json": { weight_map: { a: 1 } } },
      /weight_map\.a must be a string, found 1/,
    ],
  ];

for (const [what, files, message] of incomplete) {
  Deno.test(`openCheckpoint refuses a folder with ${what}`, async () => {
    await withFolder(files, (dir) => rejects(openCheckpoint(dir), { name: "StartError", message }));
  });
}

Deno.test("openFile says so when a file has become shorter since", async () => {
  await withFolder({ file: Uint8Array.of(1, 2, 3, 4) }, (dir) => {
    const bytes = openFile(`${dir}/file`);
    equal(bytes?.size, 4);
    deepEqual([...bytes.read(1, 2)], [2, 3]);
    Deno.truncateSync(`${dir}/file`, 2);
    throws(() => bytes.read(1, 2), {
      name: "StartError",
      message: /file is truncated: expected 2 bytes from byte 1 on, found 1/,
    });
  });
});

Deno.test("openFile gives null where there is no file", () => {
  equal(openFile("/nowhere/at/all"), null);
});
