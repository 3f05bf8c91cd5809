/** The single binary holds everything that the program opens at run time. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { ASSETS, compileArguments, WORKER_MODULES } from "../../deploy/embedded.ts";
import { unparsableFolders } from "../../deploy/npm_cache.ts";
import { gpuTest } from "../support/gpu_test.ts";
import { runningModules } from "../support/module_graph.ts";
import { startProcess } from "../support/process.ts";
import { pictureQuestion } from "../support/question.ts";

const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

interface AuditLine {
  readonly permission: string;
  readonly value: string | null;
}

function localPath(value: string): string {
  return value.startsWith("file://") ? fileURLToPath(value) : value;
}

/** What a server opens from its start to its end, one picture question included. */
async function openedByServer(flags: readonly string[]): Promise<Set<string>> {
  const audit = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const server = await startProcess(flags, { DENO_AUDIT_PERMISSIONS: audit });
    for (const path of ["/v1/models", "/metrics", "/ready"]) await (await fetch(server.url + path)).text();
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...pictureQuestion(0), kv_compression: { method: "knorm", ratio: 0.5 } }),
    });
    assert.equal(response.status, 200, await response.text());
    assert.equal(await server.stop(), 0);
    const lines = (await Deno.readTextFile(audit)).trim().split("\n").map((line) =>
      JSON.parse(line) as AuditLine
    );
    return new Set(lines.filter((line) => line.permission === "read").map((line) => localPath(line.value!)));
  } finally {
    await Deno.remove(audit);
  }
}

async function checkEmbedded(flags: readonly string[]): Promise<void> {
  const opened = await openedByServer(flags);
  assert(opened.has(`${PROJECT}deploy/model/model.safetensors`), "the audit sees what workers open");
  const { files, packages } = await runningModules(PROJECT, ["main.ts", ...WORKER_MODULES]);
  const missing = [...opened].filter((path) =>
    !files.has(path) && !packages.some((part) => path.includes(part)) &&
    !ASSETS.some((asset) => holds(PROJECT + asset, path)) && !allowedOutside(path)
  );
  assert.deepEqual(missing, []);
}

gpuTest(
  "compileArguments include everything that a server on WebGPU opens from its start to its end",
  () => checkEmbedded(["--backend", "webgpu"]),
);

Deno.test("compileArguments include everything that a server on WebAssembly opens from its start to its end", () =>
  checkEmbedded(["--backend", "wasm"]));

/** Whether an embedded file or folder brings `path` along: as itself, as its content, or as a folder above it. */
function holds(embedded: string, path: string): boolean {
  return path === embedded || path.startsWith(`${embedded}/`) || embedded.startsWith(`${path}/`);
}

/** What belongs to the machine and not to the program. */
function allowedOutside(path: string): boolean {
  return path === "/etc/os-release" || path === "/proc/version";
}

Deno.test("ASSETS and WORKER_MODULES exist", async () => {
  for (const path of [...ASSETS, ...WORKER_MODULES]) await Deno.stat(PROJECT + path);
});

Deno.test("compileArguments name a file list that deno compile accepts", {
  // The stand-in for the runtime stub has to be a program of this system's format.
  ignore: Deno.build.os !== "linux",
}, async () => {
  const folder = await Deno.makeTempDir();
  try {
    const output = `${folder}/fastcache`;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: compileArguments(output, await unparsableFolders()),
      cwd: PROJECT,
      // Any program will do: what is tested is what is put behind it.
      env: { DENORT_BIN: "/bin/true" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const model = (await Deno.stat(`${PROJECT}deploy/model/model.safetensors`)).size;
    assert((await Deno.stat(output)).size > model, "the model is inside");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
