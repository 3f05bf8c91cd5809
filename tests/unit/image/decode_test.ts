import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { crc32 } from "node:zlib";
import { RequestError } from "../../../lib/core/errors.ts";
import { seededRandom } from "../../../lib/core/random.ts";
import { decodePicture } from "../../../lib/image/decode.ts";
import { readSample, SAMPLES, sha256 } from "./samples.ts";

for (const [name, expected] of SAMPLES) {
  if (name === "cmyk.jpg") continue;
  Deno.test(`decodePicture gives ${name} the bytes that Pillow gives it`, async () => {
    const picture = await decodePicture(readSample(name));
    deepEqual([picture.width, picture.height], [expected.width, expected.height]);
    equal(picture.rgb.length, picture.width * picture.height * 3);
    equal(sha256(picture.rgb), expected.sha256);
  });
}

Deno.test("decodePicture is within one level of Pillow for a CMYK JPEG", async () => {
  const { rgb } = await decodePicture(readSample("cmyk.jpg"));
  const expected = readSample("cmyk.rgb");
  equal(rgb.length, expected.length);
  ok(Math.max(...rgb.map((value, i) => Math.abs(value - expected[i]))) <= 1);
});

const isParseError = (error: unknown) => error instanceof RequestError && error.code === "image_parse_error";

for (const [name, { format }] of SAMPLES) {
  const animated = name.startsWith("animated") && format !== "png";
  if (animated) continue; // its first frame is whole long before its end
  Deno.test(`decodePicture refuses ${name} cut off anywhere`, async () => {
    const file = readSample(name);
    for (let part = 4; part < 12; part++) {
      await rejects(decodePicture(file.subarray(0, Math.floor(file.length * part / 12))), isParseError);
    }
  });
}

Deno.test("decodePicture refuses a PNG or JPEG that lacks its last byte", async () => {
  for (const name of ["rgb8.png", "420.jpg", "progressive.jpg"]) {
    await rejects(decodePicture(readSample(name).slice(0, -1)), isParseError);
  }
});

Deno.test("decodePicture answers damaged files with a picture of the right size or a RequestError", async () => {
  const random = seededRandom(1);
  let refused = 0;
  for (const [name] of SAMPLES) {
    const file = readSample(name);
    for (let round = 0; round < 8; round++) {
      const damaged = file.slice();
      for (let hit = 0; hit < 3; hit++) damaged[random.nextUint32() % file.length] = random.nextUint32();
      try {
        const { width, height, rgb } = await decodePicture(damaged);
        equal(rgb.length, width * height * 3, name);
      } catch (error) {
        ok(error instanceof RequestError, `${name}: ${error}`);
        refused++;
      }
    }
  }
  ok(refused > SAMPLES.length, `only ${refused} were refused`);
});

Deno.test("decodePicture still decodes after a decoder failed", async () => {
  const damaged = readSample("420.jpg");
  damaged.fill(0xff, 200, 300);
  for (
    const [name, broken] of [["420.jpg", damaged], [
      "lossy.webp",
      readSample("lossy.webp").slice(0, 200),
    ]] as const
  ) {
    await rejects(decodePicture(broken), isParseError);
    const expected = SAMPLES.find(([other]) => other === name)![1];
    equal(sha256((await decodePicture(readSample(name))).rgb), expected.sha256);
  }
});

Deno.test("decodePicture refuses a PNG whose pixels inflate to more than its size", async () => {
  const file = readSample("rgb8.png");
  // Half the height, with the checksum to match: the pixels are now twice too many.
  const view = new DataView(file.buffer);
  view.setUint32(20, 5);
  view.setUint32(29, crc32(file.subarray(12, 29)));
  await rejects(decodePicture(file), isParseError);
});
