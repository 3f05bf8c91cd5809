import { deepEqual, equal, rejects } from "node:assert/strict";
import { type ErrorCode, RequestError } from "../../../lib/core/errors.ts";
import { IMAGE_FILE_BYTES_MAX } from "../../../lib/core/limits.ts";
import { fetchImage } from "../../../lib/image/fetch.ts";
import { readSample } from "./samples.ts";

const FILE = readSample("rgb8.png");

/** Endless zeros, in pieces. */
function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1 << 20)) });
}

function answer(request: Request): Response | Promise<Response> {
  const { pathname, port } = new URL(request.url);
  const redirect = (location: string) => new Response(null, { status: 302, headers: { location } });
  switch (pathname) {
    case "/picture.png":
      return new Response(FILE);
    case "/moved":
      return redirect("/picture.png");
    case "/loop":
      return redirect("/loop");
    case "/elsewhere":
      return redirect(`http://localhost:${port}/picture.png`);
    case "/to_file":
      return redirect("file:///etc/passwd");
    case "/empty":
      return new Response(new Uint8Array(0));
    case "/endless":
      return new Response(endless());
    case "/announced":
      return new Response(new Uint8Array(IMAGE_FILE_BYTES_MAX + 1));
    case "/slow":
      return new Promise(() => {});
    default:
      return new Response("no", { status: 404 });
  }
}

/** Runs `check` beside a local server; its argument is the server's origin. */
async function withServer(check: (origin: string) => Promise<void>): Promise<void> {
  const ended = new AbortController();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, signal: ended.signal, onListen() {} }, answer);
  try {
    await check(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    ended.abort();
    await server.finished;
  }
}

const ALLOWED = { allowedHosts: ["127.0.0.1"], timeoutMs: 5_000 };
const refusal = (code: ErrorCode) => (error: unknown) =>
  error instanceof RequestError && error.code === code && error.param === "p";

Deno.test("fetchImage downloads from an address that is allowed by name, and follows its redirects", async () => {
  await withServer(async (origin) => {
    deepEqual(await fetchImage(`${origin}/picture.png`, "p", ALLOWED), FILE);
    deepEqual(await fetchImage(`${origin}/moved`, "p", ALLOWED), FILE);
  });
});

const FAILURES: readonly (readonly [criterion: string, path: string, code: ErrorCode])[] = [
  ["a redirect to another host", "/elsewhere", "media_not_allowed"],
  ["a redirect to a file", "/to_file", "invalid_image_url"],
  ["redirects without end", "/loop", "failed_to_download_image"],
  ["an answer of 404", "/absent", "failed_to_download_image"],
  ["an empty file", "/empty", "empty_image_file"],
  ["a file without end", "/endless", "image_file_too_large"],
  ["a file whose length is announced as too large", "/announced", "image_file_too_large"],
];
for (const [criterion, path, code] of FAILURES) {
  Deno.test(`fetchImage refuses ${criterion} as ${code}`, async () => {
    await withServer((origin) => rejects(fetchImage(`${origin}${path}`, "p", ALLOWED), refusal(code)));
  });
}

Deno.test("fetchImage gives up after its timeout", async () => {
  await withServer((origin) =>
    rejects(
      fetchImage(`${origin}/slow`, "p", { ...ALLOWED, timeoutMs: 20 }),
      refusal("failed_to_download_image"),
    )
  );
});

Deno.test("fetchImage ends with the caller's signal", async () => {
  await withServer(async (origin) => {
    const gone = new AbortController();
    const download = fetchImage(`${origin}/slow`, "p", { ...ALLOWED, signal: gone.signal });
    gone.abort();
    await rejects(download, { name: "AbortError" });
  });
});

Deno.test("fetchImage asks no host outside the list, whatever its spelling", async () => {
  const list = { ...ALLOWED, allowedHosts: ["Images.Example"] };
  for (
    const url of ["http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "http://images.example.evil/"]
  ) {
    await rejects(fetchImage(url, "p", list), refusal("media_not_allowed"));
  }
});

Deno.test("fetchImage refuses an allowed name one of whose addresses is private, before it connects", async () => {
  await withServer(async (origin) => {
    const url = origin.replace("127.0.0.1", "images.example") + "/picture.png";
    for (const addresses of [["127.0.0.1"], ["1.1.1.1", "::1"], []]) {
      const resolve = () => Promise.resolve(addresses);
      const options = { ...ALLOWED, allowedHosts: ["images.example"], resolve };
      await rejects(fetchImage(url, "p", options), refusal("media_not_allowed"));
    }
  });
});

Deno.test("fetchImage gives up on a name that is never resolved", async () => {
  const resolve = () => new Promise<string[]>(() => {});
  const options = { allowedHosts: ["images.example"], timeoutMs: 20, resolve };
  await rejects(fetchImage("http://images.example/", "p", options), refusal("failed_to_download_image"));
});

Deno.test("fetchImage refuses what is no http URL, or carries credentials, as invalid_image_url", async () => {
  for (const url of ["ftp://127.0.0.1/a", "file:///etc/passwd", "picture.png", "http://u:p@127.0.0.1/"]) {
    await rejects(fetchImage(url, "p", ALLOWED), refusal("invalid_image_url"));
  }
});

Deno.test("fetchImage fails when nothing listens", async () => {
  let port = 0;
  await withServer((origin) => {
    port = Number(new URL(origin).port);
    return Promise.resolve();
  });
  equal(port > 0, true);
  await rejects(fetchImage(`http://127.0.0.1:${port}/`, "p", ALLOWED), refusal("failed_to_download_image"));
});
