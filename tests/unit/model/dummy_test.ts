import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openModel } from "../../../lib/model/directory.ts";
import { requiredTensors } from "../../../lib/model/weights.ts";
import { widen } from "../../../lib/ops/widen.ts";

const CONFIGS = fileURLToPath(new URL("../../../bench/configs", import.meta.url));

for (
  const { name, imageTokens, gigabytes } of [
    // 7.06 G parameters in f16; the tower's last layer is not read.
    { name: "llava-1.5-7b", imageTokens: 576, gigabytes: 14.1 },
    { name: "llava-0.5b", imageTokens: 729, gigabytes: 1.8 },
  ]
) {
  Deno.test(`${name} opens without weights, with every tensor of its shapes`, async () => {
    const { config, names, source } = await openModel(`${CONFIGS}/${name}`, "dummy");
    assert.equal(config.vision?.imageTokens, imageTokens);
    let bytes = 0;
    for (const { name, shape } of requiredTensors(config, names)) {
      const tensor = source.tensor(name);
      assert.deepEqual([tensor.dtype, tensor.shape], ["f16", shape]);
      bytes += 2 * shape.reduce((product, size) => product * size, 1);
    }
    assert.ok(Math.abs(bytes / 1e9 - gigabytes) < 0.1, `${bytes} bytes`);
  });
}

Deno.test("dummy weights are small numbers, the same ones however they are read, other rows others", async () => {
  const { names, source } = await openModel(`${CONFIGS}/llava-0.5b`, "dummy");
  const tensor = source.tensor(`${names.text}layers.3.mlp.up_proj.weight`);
  const rowBytes = 2 * tensor.shape[1];
  const rows = tensor.read(5 * rowBytes, 900 * rowBytes);
  for (const value of widen("f16", rows)) {
    assert.ok(Math.abs(value) >= 2 ** -7 && Math.abs(value) < 2 ** -6, `${value}`);
  }
  assert.deepEqual(tensor.read(700 * rowBytes, rowBytes), rows.slice(695 * rowBytes, 696 * rowBytes));
  assert.notDeepEqual(rows.slice(0, rowBytes), rows.slice(rowBytes, 2 * rowBytes));
});

Deno.test("a directory without weights still says so when random ones were not asked for", async () => {
  await assert.rejects(openModel(`${CONFIGS}/llava-0.5b`), /has no weights/);
});
