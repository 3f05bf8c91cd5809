import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { openModel } from "../../../lib/model/directory.ts";
import { requiredTensors } from "../../../lib/model/weights.ts";
import { fixture } from "../../support/fixtures.ts";
import { withCopy, withFolder } from "../../support/model_files.ts";

const llava = fixture("llava-tiny").dir;
const llama = fixture("llama-text-tiny").dir;

function json(path: string): Record<string, unknown> {
  return JSON.parse(Deno.readTextFileSync(path));
}

Deno.test("openModel opens a vision-language directory whose weights can all be read", async () => {
  const model = await openModel(`${llava}/`);
  equal(model.dir, llava);
  equal(model.config.vision?.imageTokens, 36);
  equal(model.images?.family, "clip");
  for (const { name, shape } of requiredTensors(model.config, model.names)) {
    const tensor = model.source.tensor(name);
    const bytes = 2 * shape.reduce((product, size) => product * size, 1);
    equal(tensor.dtype, "f16");
    equal(tensor.read(0, bytes).length, bytes);
  }
});

Deno.test("openModel opens a sharded text directory with several end tokens and its sampling", async () => {
  const model = await openModel(llama);
  equal(model.images, null);
  deepEqual(model.config.eosTokenIds, [901, 905]);
  deepEqual([model.generation.temperature, model.generation.topP], [0.6, 0.9]);
  equal(model.config.text.rope.llama3?.originalPositions, 64);
  equal(model.source.tensor("model.norm.weight").dtype, "bf16");
});

Deno.test("openModel takes end tokens from generation_config.json before config.json", async () => {
  await withCopy(llama, { "generation_config.json": { eos_token_id: 7 } }, async (dir) => {
    deepEqual((await openModel(dir)).config.eosTokenIds, [7]);
  });
  await withCopy(llama, {
    "generation_config.json": null,
    "config.json": { ...json(`${llama}/config.json`), eos_token_id: 8 },
  }, async (dir) => {
    deepEqual((await openModel(dir)).config.eosTokenIds, [8]);
  });
});

Deno.test("openModel says what is wrong with a directory that is none", async () => {
  await rejects(openModel("/nowhere/at/all"), {
    name: "StartError",
    message: "/nowhere/at/all does not exist",
  });
  await rejects(openModel(llama, "auto", "/nowhere/c.safetensors"), {
    name: "StartError",
    message: "--compressor: /nowhere/c.safetensors does not exist",
  });
  await withFolder({ "config.json": "{}" }, async (dir) => {
    await rejects(openModel(`${dir}/config.json`), {
      name: "StartError",
      message: /config\.json is not a directory/,
    });
  });
  await withFolder({}, async (dir) => {
    await rejects(openModel(dir), {
      name: "StartError",
      message: `${dir} is not a model directory: config.json is missing`,
    });
  });
});

const config = json(`${llava}/config.json`);

const wrong: readonly (readonly [what: string, changes: Parameters<typeof withCopy>[1], message: RegExp])[] =
  [
    ["a config that is not JSON", { "config.json": "{" }, /config\.json is not valid JSON/],
    [
      "an unknown architecture",
      { "config.json": { ...config, architectures: ["X"] } },
      /config\.json has the architecture X; supported are Llava/,
    ],
    [
      "quantised weights",
      { "config.json": { ...config, quantization_config: { quant_method: "awq" } } },
      /quantization_config must be absent/,
    ],
    [
      "weights of another width",
      {
        "config.json": { ...config, vision_config: { ...config.vision_config as object, hidden_size: 128 } },
      },
      /model\.safetensors: tensor "vision_tower\..*" has shape \[64.*\], expected \[128/,
    ],
    ["no weights", { "model.safetensors": null }, /has no weights/],
    ["truncated weights", {
      "model.safetensors": Deno.readFileSync(`${llava}/model.safetensors`).slice(0, 700_000),
    }, /model\.safetensors is truncated: expected \d+ bytes, found 700000/],
    ["no image processor", { "preprocessor_config.json": null }, /says nothing about its pictures/],
  ];

for (const [what, changes, message] of wrong) {
  Deno.test(`openModel refuses a directory with ${what}`, async () => {
    await withCopy(llava, changes, (dir) => rejects(openModel(dir), { name: "StartError", message }));
  });
}

Deno.test("openModel writes one line in every message", async () => {
  await withCopy(llava, { "config.json": '{"a":\nx}' }, async (dir) => {
    await rejects(openModel(dir), (error: Error) => {
      ok(!error.message.includes("\n"), error.message);
      return true;
    });
  });
});
