import { deepEqual, equal, throws } from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import type { ByteSource } from "../../../lib/model/byte_source.ts";
import { Safetensors } from "../../../lib/model/safetensors.ts";
import { safetensorsBytes } from "../../support/model_files.ts";

function memory(bytes: Uint8Array): ByteSource {
  return {
    name: "w.safetensors",
    size: bytes.length,
    read: (first, count) => bytes.slice(first, first + count),
  };
}

const two = {
  a: { dtype: "F16", shape: [2, 3], bytes: Uint8Array.from({ length: 12 }, (_, i) => i) },
  b: { dtype: "F32", shape: [1], bytes: Uint8Array.of(9, 8, 7, 6) },
};

/** Opens a file of 16 data bytes whose header is this. */
function openHeader(header: unknown): Safetensors {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  return new Safetensors(memory(safetensorsBytes(two, text)));
}

const a = { dtype: "F16", shape: [2, 3], data_offsets: [0, 12] };
const b = { dtype: "F32", shape: [1], data_offsets: [12, 16] };

Deno.test("Safetensors reads any range of a tensor, and no other bytes", () => {
  const file = new Safetensors(memory(safetensorsBytes(two)));
  const tensor = file.tensor("a");
  equal(tensor.dtype, "f16");
  deepEqual(tensor.shape, [2, 3]);
  deepEqual([...tensor.read(0, 12)], [...two.a.bytes]);
  deepEqual([...tensor.read(4, 6)], [4, 5, 6, 7, 8, 9]);
  deepEqual([...file.tensor("b").read(0, 4)], [9, 8, 7, 6]);
  throws(() => tensor.read(8, 5), RangeError);
  throws(() => tensor.read(-1, 2), RangeError);
});

Deno.test("Safetensors takes tensors in any order of the header and tensors without elements", () => {
  const file = openHeader({ b, a, empty: { dtype: "F32", shape: [0, 4], data_offsets: [12, 12] } });
  deepEqual(file.names(), ["b", "a", "empty"]);
  equal(file.tensor("empty").read(0, 0).length, 0);
});

Deno.test("Safetensors keeps tensors of other types until one is asked for", () => {
  const file = openHeader({
    a: { dtype: "I64", shape: [1], data_offsets: [0, 8] },
    c: { ...b, data_offsets: [8, 12] },
    b,
  });
  equal(file.has("a"), true);
  throws(() => file.tensor("a"), {
    name: "StartError",
    message: /w\.safetensors: tensor "a" is stored as I64, expected F32, F16 or BF16/,
  });
});

Deno.test("Safetensors names the file and the cause when it is truncated anywhere", () => {
  const whole = safetensorsBytes(two);
  for (let length = 0; length < whole.length; length++) {
    throws(() => new Safetensors(memory(whole.slice(0, length))), {
      name: "StartError",
      message: /^w\.safetensors is truncated/,
    });
  }
});

const broken: readonly (readonly [what: string, header: unknown, message: RegExp])[] = [
  ["a header that is not JSON", "{", /w\.safetensors \(header\) is not valid JSON/],
  ["a header that is a list", "[]", /must hold a JSON object/],
  [
    "an overlap",
    { a, b: { ...b, data_offsets: [8, 12] } },
    /"b" begins at byte 8 of the data, expected 12: tensors overlap/,
  ],
  ["a gap", { b }, /"b" begins at byte 12 of the data, expected 0: tensors leave a gap/],
  ["bytes behind the last tensor", { a }, /too long/],
  [
    "offsets behind the end",
    { a, b, c: { ...b, data_offsets: [16, 20] } },
    /truncated: expected \d+ bytes, found \d+/,
  ],
  [
    "offsets that do not fit the shape",
    { a: { ...a, shape: [2, 4] }, b },
    /a\.data_offsets must be 16 bytes apart for F16 \[2, 4\], found \[0,12\]/,
  ],
  [
    "descending offsets",
    { a: { ...a, data_offsets: [12, 0] }, b },
    /a\.data_offsets must be two ascending offsets/,
  ],
  [
    "three offsets",
    { a: { ...a, data_offsets: [0, 6, 12] }, b },
    /a\.data_offsets must be two ascending offsets/,
  ],
  ["a negative size", { a: { ...a, shape: [-2, -3] }, b }, /a\.shape must be a list of whole numbers/],
  ["a shape that is no list", { a: { ...a, shape: "2,3" }, b }, /a\.shape must be a list/],
  ["no type", { a: { ...a, dtype: 3 }, b }, /a\.dtype must be a string, found 3/],
  ["a tensor that is no object", { a: 1, b }, /: a must be an object, found 1/],
  [
    "a size beyond exact numbers",
    { a: { ...a, shape: [1e300] }, b },
    /a\.shape must be a list of whole numbers/,
  ],
];

for (const [what, header, message] of broken) {
  Deno.test(`Safetensors refuses ${what}`, () =>
    throws(() => openHeader(header), { name: "StartError", message }));
}

Deno.test("Safetensors refuses a file that only has the name of one", () => {
  const text = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  throws(() => new Safetensors(memory(text)), /not a safetensors file/);
});

Deno.test("Safetensors says which tensor it does not have", () => {
  throws(() => openHeader({ a, b }).tensor("c"), new StartError('w.safetensors: tensor "c" is missing'));
});
