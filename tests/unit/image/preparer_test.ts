import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import type { Clock } from "../../../lib/core/clock.ts";
import { RequestError } from "../../../lib/core/errors.ts";
import { decodePicture } from "../../../lib/image/decode.ts";
import type { ImageProcessorConfig } from "../../../lib/image/image.ts";
import { startPreparer } from "../../../lib/image/preparer.ts";
import { preprocess } from "../../../lib/image/preprocess/mod.ts";
import { pngClaiming, readSample } from "./samples.ts";

const CONFIG: ImageProcessorConfig = {
  family: "clip",
  resize: { shortestEdge: 14 },
  resample: "bicubic",
  crop: { height: 14, width: 14 },
  rescaleFactor: 1 / 255,
  mean: [0.5, 0.5, 0.5],
  std: [0.25, 0.25, 0.25],
};

const refusal = (code: string, param: string) => (error: unknown) =>
  error instanceof RequestError && error.code === code && error.param === param;

/** A thread that runs `code` instead of the decoder. */
function startScript(code: string): Worker {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    return new Worker(url, { type: "module" });
  } finally {
    URL.revokeObjectURL(url);
  }
}

Deno.test("prepare gives what decoding and preprocessing give, in the order asked, and leaves the file alone", async () => {
  const preparer = startPreparer(CONFIG, { threads: 2 });
  try {
    const names = ["rgb8.png", "420.jpg", "lossy.webp", "plain.gif", "exif6.jpg"];
    const files = names.map(readSample);
    const prepared = await Promise.all(files.map((file) => preparer.prepare(file, "p")));
    for (const [i, name] of names.entries()) {
      deepEqual(prepared[i], preprocess(await decodePicture(readSample(name)), CONFIG), name);
      deepEqual(files[i], readSample(name));
    }
  } finally {
    await preparer.close();
  }
});

Deno.test("prepare takes a file that is part of a larger buffer", async () => {
  const preparer = startPreparer(CONFIG, { threads: 1 });
  try {
    const file = readSample("rgb8.png");
    const larger = new Uint8Array(file.length + 20);
    larger.set(file, 10);
    const part = larger.subarray(10, 10 + file.length);
    deepEqual(await preparer.prepare(part, "p"), await preparer.prepare(file, "p"));
  } finally {
    await preparer.close();
  }
});

Deno.test("prepare refuses a damaged file with its param, and the next file is prepared", async () => {
  const preparer = startPreparer(CONFIG, { threads: 1 });
  try {
    const file = readSample("rgb8.png");
    await rejects(
      preparer.prepare(file.subarray(0, 200), "messages[0]"),
      refusal("image_parse_error", "messages[0]"),
    );
    await rejects(preparer.prepare(pngClaiming(20_000, 20_000), "b"), refusal("image_too_large", "b"));
    equal((await preparer.prepare(file, "c")).width, 14);
  } finally {
    await preparer.close();
  }
});

Deno.test("inspect answers from the header and names the param when it refuses", async () => {
  const preparer = startPreparer(CONFIG, { threads: 1 });
  try {
    deepEqual(preparer.inspect(readSample("exif6.jpg"), "p"), { format: "jpeg", width: 11, height: 19 });
    throws(() => preparer.inspect(new Uint8Array(0), "p"), refusal("empty_image_file", "p"));
    throws(() => preparer.inspect(pngClaiming(20_000, 20_000), "q"), refusal("image_too_large", "q"));
  } finally {
    await preparer.close();
  }
});

Deno.test("prepare survives a crashed thread: its picture is refused, the next one goes to a new thread", async () => {
  let started = 0;
  const preparer = startPreparer(CONFIG, {
    threads: 1,
    startThread() {
      started++;
      return startScript(
        started === 1
          ? `onmessage = async () => { throw new Error("crash"); };`
          : `onmessage = () => postMessage({ ok: true, image: { pixels: new Float32Array(3), width: 1, height: 1 } });`,
      );
    },
  });
  try {
    const file = readSample("rgb8.png");
    const first = rejects(preparer.prepare(file, "a"), refusal("image_parse_error", "a"));
    const second = preparer.prepare(file, "b");
    await first;
    equal((await second).width, 1);
    equal(started, 2);
  } finally {
    await preparer.close();
  }
});

Deno.test("prepare gives up a decode that takes too long", async () => {
  const timers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    after(_delayMs, run) {
      timers.push(run);
      return () => {};
    },
  };
  const preparer = startPreparer(CONFIG, {
    threads: 1,
    clock,
    startThread: () => startScript(`onmessage = () => {};`),
  });
  try {
    const hung = rejects(preparer.prepare(readSample("rgb8.png"), "a"), refusal("image_parse_error", "a"));
    equal(timers.length, 1);
    timers[0]();
    await hung;
  } finally {
    await preparer.close();
  }
});

Deno.test("prepare refuses when too many pictures wait, and close refuses those that still do", async () => {
  const preparer = startPreparer(CONFIG, {
    threads: 1,
    waitingMax: 1,
    startThread: () => startScript(`onmessage = () => {};`),
  });
  const file = readSample("rgb8.png");
  const running = rejects(preparer.prepare(file, "a"), refusal("draining", "a"));
  const waiting = rejects(preparer.prepare(file, "b"), refusal("draining", "b"));
  await rejects(preparer.prepare(file, "c"), refusal("rate_limit_exceeded", "c"));
  await preparer.close();
  await Promise.all([running, waiting]);
});
