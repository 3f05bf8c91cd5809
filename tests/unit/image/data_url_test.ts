import { deepEqual, equal, throws } from "node:assert/strict";
import { type ErrorCode, RequestError } from "../../../lib/core/errors.ts";
import { IMAGE_FILE_BYTES_MAX } from "../../../lib/core/limits.ts";
import { decodeDataUrl, isDataUrl } from "../../../lib/image/data_url.ts";

const accepted: readonly (readonly [criterion: string, url: string])[] = [
  ["plain base64", "data:image/png;base64,aGVsbG8="],
  ["a missing padding", "data:image/png;base64,aGVsbG8"],
  ["whitespace between digits", "data:image/png;base64,aGVs\r\n bG8="],
  ["another case", "DATA:Image/PNG;BASE64,aGVsbG8="],
  ["a further attribute", "data:image/jpeg;charset=utf-8;base64,aGVsbG8="],
];
for (const [criterion, url] of accepted) {
  Deno.test(`decodeDataUrl takes ${criterion}`, () => {
    equal(new TextDecoder().decode(decodeDataUrl(url, "p")), "hello");
  });
}

const refused: readonly (readonly [criterion: string, code: ErrorCode, url: string])[] = [
  ["a URL without comma", "invalid_image_url", "data:image/png;base64"],
  ["another scheme", "invalid_image_url", "http://host/a,b"],
  ["a type that is no image", "unsupported_image_media_type", "data:text/plain;base64,aGVsbG8="],
  ["no type", "unsupported_image_media_type", "data:;base64,aGVsbG8="],
  ["text that is not marked base64", "invalid_base64_image", "data:image/png,hello"],
  ["foreign digits", "invalid_base64_image", "data:image/png;base64,a*b!"],
  ["digits after the padding", "invalid_base64_image", "data:image/png;base64,aGVsbG8=aGVs"],
  ["one digit too many", "invalid_base64_image", "data:image/png;base64,aGVsb"],
  ["nothing", "empty_image_file", "data:image/png;base64,"],
];
for (const [criterion, code, url] of refused) {
  Deno.test(`decodeDataUrl refuses ${criterion} as ${code}`, () => {
    throws(
      () => decodeDataUrl(url, "p"),
      (error) => error instanceof RequestError && error.code === code && error.param === "p",
    );
  });
}

Deno.test("decodeDataUrl takes the largest file, broken into lines, and refuses a larger one", () => {
  const line = "A".repeat(76) + "\r\n";
  const digits = Math.floor(IMAGE_FILE_BYTES_MAX / 3) * 4;
  const lines = line.repeat(Math.floor(digits / 76));
  const bytes = decodeDataUrl(`data:image/png;base64,${lines}`, "p");
  deepEqual(bytes.length, Math.floor(digits / 76) * 57);
  throws(
    () => decodeDataUrl(`data:image/png;base64,${"A".repeat(digits + 8)}`, "p"),
    (error) => error instanceof RequestError && error.code === "image_file_too_large",
  );
});

Deno.test("isDataUrl knows the scheme in any case", () => {
  deepEqual(["data:,", "Data:x", "http://data:1", "dat"].map(isDataUrl), [true, true, false, false]);
});
