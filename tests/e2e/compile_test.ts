/** The single binary holds everything that the program opens at run time. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { ASSETS, compileArguments, WORKER_MODULES } from "../../deploy/embedded.ts";
import { unparsableFolders } from "../../deploy/npm_cache.ts";
import { gpuTest } from "../support/gpu_test.ts";
import { startProcess } from "../support/process.ts";
import { pictureQuestion } from "../support/question.ts";

const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

interface ModuleGraph {
  readonly modules: readonly { readonly local?: string | null; readonly error?: string }[];
  readonly npmPackages: Readonly<Record<string, { readonly name: string; readonly version: string }>>;
}

interface AuditLine {
  readonly permission: string;
  readonly value: string | null;
}

/** Modules and npm packages that `deno compile` takes along for the given entry points. */
async function moduleGraph(entries: readonly string[]): Promise<{ files: Set<string>; packages: string[] }> {
  const files = new Set<string>();
  const packages = new Set<string>();
  for (const entry of entries) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: PROJECT,
    }).output();
    const graph = JSON.parse(new TextDecoder().decode(stdout)) as ModuleGraph;
    for (const module of graph.modules) {
      assert.equal(module.error, undefined);
      if (module.local) files.add(module.local);
    }
    for (const { name, version } of Object.values(graph.npmPackages)) packages.add(`/${name}/${version}/`);
  }
  return { files, packages: [...packages] };
}

function localPath(value: string): string {
  return value.startsWith("file://") ? fileURLToPath(value) : value;
}

gpuTest("compileArguments include everything that a server opens from its start to its end", async () => {
  const audit = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const server = await startProcess([], { DENO_AUDIT_PERMISSIONS: audit });
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
    const opened = new Set(
      lines.filter((line) => line.permission === "read").map((line) => localPath(line.value!)),
    );
    assert(opened.has(`${PROJECT}deploy/model/model.safetensors`), "the audit sees what the worker opens");
    const { files, packages } = await moduleGraph(["main.ts", ...WORKER_MODULES]);
    const missing = [...opened].filter((path) =>
      !files.has(path) && !packages.some((part) => path.includes(part)) &&
      !ASSETS.some((asset) => holds(PROJECT + asset, path)) && !allowedOutside(path)
    );
    assert.deepEqual(missing, []);
  } finally {
    await Deno.remove(audit);
  }
});

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
