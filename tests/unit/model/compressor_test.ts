import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { openCompressor } from "../../../lib/model/compressor_file.ts";
import { Draw } from "../../support/cases.ts";
import { binaryCompressor, compressorsFile, compressorTensors } from "../../support/compressor_files.ts";
import { randomCompressor, valuesOf } from "../../support/compressors.ts";
import { safetensorsBytes, withFolder } from "../../support/model_files.ts";

const MODEL = { layers: 2, headDim: 8 };
const five = randomCompressor(new Draw(1), MODEL, { factor: 5 });
const two = randomCompressor(new Draw(2), MODEL, { factor: 2, images: false });

/** The message with which a file is refused. */
async function refusal(bytes: Uint8Array, model = MODEL): Promise<string> {
  let message = "";
  await withFolder({ "c.bin": bytes }, (dir) => {
    try {
      openCompressor(`${dir}/c.bin`, model);
    } catch (error) {
      assert(error instanceof StartError);
      assert(error.message.startsWith(`${dir}/c.bin`), "the file is named");
      message = error.message;
      return;
    }
    assert.fail("the file was taken");
  });
  return message;
}

Deno.test("openCompressor reads several factors of one safetensors file, with their weights", async () => {
  await withFolder({ "c.safetensors": compressorsFile([five, two]) }, (dir) => {
    const found = openCompressor(`${dir}/c.safetensors`, MODEL)!;
    assert.deepEqual(found.map(({ factor, minGroups, factors }) => [factor, minGroups, factors]), [
      [2, 2, { text: [2, 2], image: [1, 1] }],
      [5, 2, { text: [5, 5], image: [5, 5] }],
    ]);
    for (const name of ["compress_ik.1.0.weight", "compress_tv.0.6.bias"]) {
      assert.deepEqual(valuesOf(found[1], name), valuesOf(five, name));
    }
  });
});

Deno.test("openCompressor reads one factor without a prefix, and leaves other tensors of the file alone", async () => {
  const tensors = {
    ...compressorTensors(five),
    "attention.0.weight": compressorTensors(two)["compress_tk.0.0.bias"],
  };
  await withFolder({ "c.safetensors": safetensorsBytes(tensors) }, (dir) => {
    assert.deepEqual(openCompressor(`${dir}/c.safetensors`, MODEL)!.map(({ factor }) => factor), [5]);
    assert.equal(openCompressor(`${dir}/absent.safetensors`, MODEL), null);
  });
});

Deno.test("openCompressor reads the binary format, its metadata skipped", async () => {
  for (const one of [five, two]) {
    await withFolder({ "c.bin": binaryCompressor(one, MODEL, Uint8Array.of(1, 2, 3)) }, (dir) => {
      const [found, ...rest] = openCompressor(`${dir}/c.bin`, MODEL)!;
      assert.equal(rest.length, 0);
      assert.deepEqual([found.factor, found.factors, found.tensors.size], [
        one.factor,
        one.factors,
        one.tensors.size,
      ]);
      for (const name of one.tensors.keys()) {
        assert.deepEqual(valuesOf(found, name), valuesOf(one, name), name);
      }
    });
  }
});

Deno.test("openCompressor refuses safetensors that do not fit the model, naming the tensor", async () => {
  assert.match(await refusal(safetensorsBytes({})), /holds no compressor/);
  const lacking = compressorTensors(five);
  delete lacking["compress_iv.1.3.bias"];
  assert.match(await refusal(safetensorsBytes(lacking)), /"compress_iv\.1\.3\.bias" is missing/);
  assert.match(
    await refusal(compressorsFile([five]), { layers: 1, headDim: 8 }),
    /more layers than this model's 1/,
  );
  assert.match(
    await refusal(compressorsFile([five]), { layers: 2, headDim: 16 }),
    /40 columns, expected a multiple/,
  );
  assert.match(
    await refusal(safetensorsBytes(compressorTensors(five, "factor_1."))),
    /"factor_1\." names no factor/,
  );
  const odd = {
    ...compressorTensors(five),
    "compress_tk.1.3.weight": compressorTensors(five)["compress_tk.1.0.weight"],
  };
  assert.match(
    await refusal(safetensorsBytes(odd)),
    /"compress_tk\.1\.3\.weight" is \[8, 40\], expected \[8, 8\]/,
  );
});

const MIXED = { factor: 5, factors: { text: [2, 3], image: [6, 1] } };
const mixed = randomCompressor(new Draw(3), MODEL, MIXED);

Deno.test("openCompressor reads a factor of each layer and kind off the weights, and the one to be named off the prefix", async () => {
  await withFolder({ "c.safetensors": compressorsFile([mixed, two]) }, (dir) => {
    const [, found] = openCompressor(`${dir}/c.safetensors`, MODEL)!;
    assert.deepEqual([found.factor, found.factors], [5, MIXED.factors]);
  });
  const textRaw = { text: [1, 1], image: [1, 3] };
  const tensors = compressorTensors(randomCompressor(new Draw(3), MODEL, { factor: 3, factors: textRaw }));
  await withFolder({ "c.safetensors": safetensorsBytes(tensors) }, (dir) => {
    const [found] = openCompressor(`${dir}/c.safetensors`, MODEL)!;
    assert.deepEqual([found.factor, found.factors], [3, textRaw], "without a prefix the first network tells");
  });
});

Deno.test("openCompressor refuses a prefix that names a factor which no prompt of its weights comes to", async () => {
  const named = (prefix: string, factors: typeof MIXED.factors) =>
    refusal(
      safetensorsBytes(
        compressorTensors(randomCompressor(new Draw(3), MODEL, { factor: 3, factors }), prefix),
      ),
    );
  const three = { text: [3, 3], image: [3, 3] };
  assert.match(
    await named("factor_5.", three),
    /"factor_5\." names 5 slots to one, but 3 become one everywhere/,
  );
  assert.match(
    await named("factor_2.", three),
    /"factor_2\." names 2 slots to one, but 3 become one everywhere/,
  );
  assert.match(await named("factor_5.", { text: [2, 3], image: [4, 1] }), /names 5 .* but 1 to 4 become one/);
});

Deno.test("openCompressor refuses layers whose tensors are incomplete or of different factors, naming file and tensor", async () => {
  const all = compressorTensors(mixed, "factor_5."), name = (tensor: string) => `factor_5.compress_${tensor}`;
  const without = (...tensors: readonly string[]) =>
    safetensorsBytes(Object.fromEntries(Object.entries(all).filter(([key]) => !tensors.includes(key))));
  const instead = (tensor: string, by: string) => safetensorsBytes({ ...all, [name(tensor)]: all[name(by)] });
  for (const one of ["tv.1.6.bias", "ik.0.0.weight", "iv.0.3.weight"]) {
    const message = await refusal(without(name(one)));
    assert(message.includes(`tensor "${name(one)}" is missing`), message);
  }
  // Networks of keys without any of values.
  const values = Object.keys(all).filter((key) => key.startsWith(name("iv.0.")));
  assert.match(await refusal(without(...values)), /"factor_5\.compress_iv\.0\.0\.weight" is missing/);
  assert.match(
    await refusal(instead("tv.1.0.weight", "tk.0.0.weight")),
    /"factor_5\.compress_tv\.1\.0\.weight" is \[8, 16\], expected \[8, 24\].* 3 slots to one, keys and values alike/,
  );
  const wide = (cols: number) =>
    safetensorsBytes({
      ...all,
      [name("ik.0.0.weight")]: { dtype: "F32", shape: [8, cols], bytes: new Uint8Array(32 * cols) },
    });
  assert.match(
    await refusal(wide(20)),
    /"factor_5\.compress_ik\.0\.0\.weight" has 20 columns, expected a multiple/,
  );
  assert.match(await refusal(wide(8)), /has 8 columns, expected a multiple .* twice or more/);
  assert.match(
    await refusal(wide(520)),
    /"factor_5\.compress_ik\.0\.0\.weight" makes 65 slots one, more than 64/,
  );
});

Deno.test("openCompressor refuses a binary file that is of another model, version or size", async () => {
  const bytes = () => binaryCompressor(five, MODEL);
  const changed = (word: number, value: number) => {
    const out = bytes();
    new DataView(out.buffer).setUint32(4 * word, value, true);
    return out;
  };
  assert.match(await refusal(changed(1, 2)), /version is 2, expected 1/);
  assert.match(await refusal(changed(2, 7)), /dtype is 7/);
  assert.match(await refusal(changed(3, 3)), /number of layers is 3, expected 2/);
  assert.match(await refusal(changed(5, 16)), /head dimension is 16, expected 8/);
  assert.match(await refusal(changed(7, 1)), /factor is 1/);
  assert.match(await refusal(changed(7, 4)), /"compress_tk\.0\.0\.weight" is \[8, 40\], expected \[8, 32\]/);
  assert.match(await refusal(changed(7, 65)), /factor is 65, more than 64/);
  assert.match(await refusal(changed(8, 0)), /least number of groups is 0/);
  assert.match(await refusal(changed(9, 9)), /weights a layer is 9, expected 6 or 12/);
  assert.match(await refusal(bytes().slice(0, 30)), /truncated/);
  assert.match(await refusal(bytes().slice(0, -4)), /truncated/);
  assert.match(await refusal(Uint8Array.from([...bytes(), 0])), /too long/);
  assert.match(await refusal(changed(13, 0)), /"compress_tk\.0\.0\.weight" has no bias/);
});
