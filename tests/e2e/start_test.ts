/** The program as a whole: exit codes, start lines, signals. Runs it as another process. */
import assert from "node:assert/strict";
import { sleep, systemClock } from "../../lib/core/clock.ts";
import { type ServerProcess, startProcess } from "../support/process.ts";
import { gpuTest } from "../support/gpu_test.ts";
import { pictureQuestion } from "../support/question.ts";

const PROJECT = new URL("../../", import.meta.url);

/** Runs main.ts to its end. */
async function run(args: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "main.ts", ...args],
    cwd: PROJECT,
    env,
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), errors: text(stderr) };
}

Deno.test("main --help lists the flags and ends with 0", async () => {
  for (const args of [["--help"], ["help"], ["eval", "-h"]]) {
    const { code, out } = await run(args);
    assert.equal(code, 0);
    assert.match(out, /--kv-compress METHOD/);
  }
});

Deno.test("main --version prints name and version and ends with 0", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("deno.json", PROJECT)));
  for (const args of [["--version"], ["start", "--version"]]) {
    const { code, out } = await run(args);
    assert.equal(code, 0);
    assert.equal(out, `fastcache ${version}\n`);
  }
});

Deno.test("main answers an unknown flag, a bad value and an unknown command with one line and 2", async () => {
  const cases: [string[], Record<string, string>, RegExp][] = [
    [["start", "--prot", "1"], {}, /^error: unknown flag --prot/],
    [["start", "--kv-memory", "lots"], {}, /^error: --kv-memory: expected bytes/],
    [
      ["start"],
      { FASTCACHE_DECODE_WINDOW: "1" },
      /^error: FASTCACHE_DECODE_WINDOW: expected ITEMS:TOKENS:WAIT_MS/,
    ],
    [["serve"], {}, /^error: unknown command "serve"/],
    [
      ["start", "--port", "0", "--max-model-len", "64", "--default-max-tokens", "65"],
      {},
      /^error: --default-max/,
    ],
    [["start", "--port", "0", "--max-model-len", "999999"], {}, /^error: --max-model-len 999999 is more/],
    [
      ["start", "--port", "0", "--pool", "contiguous", "--prefix-cache", "on"],
      {},
      /^error: --prefix-cache on needs --pool paged/,
    ],
  ];
  for (const [args, env, expected] of cases) {
    const { code, out, errors } = await run(args, env);
    assert.equal(code, 2, errors);
    assert.equal(out, "");
    assert.match(errors, expected);
    assert.equal(errors.trimEnd().split("\n").length, 1, errors);
  }
});

Deno.test({
  name:
    "main --backend webgpu without an adapter and without the means to install one says what is missing and ends with 1",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    // No Vulkan driver is found there, and no program is found on an empty PATH.
    const { code, out, errors } = await run(["start", "--backend", "webgpu"], {
      VK_DRIVER_FILES: "/nonexistent",
      VK_ICD_FILENAMES: "/nonexistent",
      PATH: "",
    });
    assert.equal(code, 1, errors);
    assert.equal(out, "");
    assert.match(errors, /no WebGPU adapter/);
    assert.match(errors, /error: /);
  },
});

Deno.test("main says in one line, before it loads anything, what cannot be read or written, and ends with 1", async () => {
  const cases: [string[], RegExp][] = [
    [["start", "--port", "0", "--model", "org/name"], /^error: --model org\/name: .* not downloaded by name/],
    [["eval", "--set", "/nonexistent"], /^error: cannot read \/nonexistent\/questions\.jsonl/],
    [["eval", "--out", "/nonexistent/answers.jsonl"], /^error: cannot write \/nonexistent\/answers\.jsonl/],
  ];
  for (const [args, expected] of cases) {
    const { code, out, errors } = await run(args);
    assert.equal(code, 1, errors);
    assert.equal(out, "");
    assert.match(errors, expected);
    assert.equal(errors.trimEnd().split("\n").length, 1, errors);
  }
});

gpuTest("main names the file that a model directory lacks and ends with 1", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { code, errors } = await run(["start", "--port", "0", "--model", folder]);
    assert.equal(code, 1, errors);
    assert.match(errors, /^error: .*config\.json/m);
  } finally {
    await Deno.remove(folder);
  }
});

gpuTest("main says that the port is in use and ends with 1", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { code, errors } = await run(["start", "--port", String(listener.addr.port)]);
  assert.equal(code, 1, errors);
  assert.match(errors, new RegExp(`^error: .*:${listener.addr.port}.* in use`, "m"));
});

gpuTest(
  "main start says what it chose, listens, finishes a running stream after SIGTERM and ends with 0",
  async () => {
    const server = await startProcess([]);
    assert.equal(server.banner.filter((line) => line.startsWith("listening on ")).length, 1);
    assert.match(server.banner.at(-1)!, /^listening on http:\/\/127\.0\.0\.1:\d+$/);
    assert(server.banner.some((line) => /^(adapter|device): /.test(line)));
    for (const word of ["KV pool", "longest context", "max_tokens", "policy", "largest batches"]) {
      assert(server.banner.some((line) => line.includes(word)), `${word} in ${server.banner.join("\n")}`);
    }
    assert.equal((await fetch(`${server.url}/ready`).then(drop)).status, 200);

    const finish = await beginStream(server);
    server.signal("SIGTERM");
    for (let ready = 200; ready === 200;) ready = (await fetch(`${server.url}/ready`).then(drop)).status;
    await finish();
    assert.equal((await server.status).code, 0);
    await server.stop();
    assert.match(server.errors(), /^stopping: running requests have 30 s to end$/m);
  },
);

Deno.test("main start finishes a running stream after a Ctrl-C that arrives twice", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const server = await startProcess(["--backend", "wasm"]);
  const finish = await beginStream(server);
  server.signal("SIGINT");
  // As the terminal's process group and deno task send it.
  await sleep(systemClock, 50);
  server.signal("SIGINT");
  await finish();
  assert.equal((await server.status).code, 0);
  await server.stop();
});

Deno.test("main start that runs nothing stops without a word about requests", async () => {
  const server = await startProcess(["--backend", "wasm", "--max-model-len", "64"]);
  assert(server.banner.some((line) => /^warning: .* holds no picture/.test(line)), server.banner.join("\n"));
  assert.equal(await server.stop(), 0);
  assert.match(server.errors(), /^stopping$/m);
});

/** Starts a long answer; the returned function reads it to its end and checks that nothing is missing. */
async function beginStream(server: ServerProcess): Promise<() => Promise<void>> {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...pictureQuestion(0),
      ignore_eos: true,
      // So many that it is still running when a test has seen the server stop taking others.
      max_completion_tokens: 800,
      stream: true,
    }),
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value ?? "";
  return async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
    assert.match(text, /data: \[DONE\]\n\n$/);
    assert.match(text, /"finish_reason":"length"/);
  };
}

async function drop(response: Response): Promise<Response> {
  await response.body?.cancel();
  return response;
}
