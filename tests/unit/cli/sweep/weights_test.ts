import assert from "node:assert/strict";
import { noteWeights, weightsOf } from "../../../../lib/cli/sweep/weights.ts";
import { StartError } from "../../../../lib/core/errors.ts";
import { withFolder } from "../../../support/model_files.ts";

Deno.test("weightsOf tells models and compressors by their bytes, wherever the compressor's file is", async () => {
  const files = {
    "a.safetensors": "weights",
    "b.safetensors": "more",
    "compressor.safetensors": "one",
    "config.json": "",
  };
  await withFolder({ ...files, "elsewhere": "one", "other": "two" }, async (dir) => {
    const own = await weightsOf(dir, null);
    // sha256sum of "one".
    const one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    assert.equal(own.split("\n").at(2), `compressor.safetensors ${one}`);
    assert.equal(own.split("\n").length, 4);
    assert.equal(await weightsOf(dir, `${dir}/elsewhere`), own);
    assert.notEqual(await weightsOf(dir, `${dir}/other`), own);
    await Deno.writeTextFile(`${dir}/b.safetensors`, "moor");
    assert.notEqual(await weightsOf(dir, null), own);
    await assert.rejects(weightsOf(dir, `${dir}/absent`), StartError);
  });
});

Deno.test("noteWeights takes a folder without a note, and then no other weights", async () => {
  await withFolder({}, async (folder) => {
    await noteWeights(folder, "compressor.safetensors 1\n");
    await noteWeights(folder, "compressor.safetensors 1\n");
    await assert.rejects(
      noteWeights(folder, "compressor.safetensors 2\n"),
      (error) => error instanceof StartError && error.message.includes(folder),
    );
  });
});
