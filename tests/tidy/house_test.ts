/** Is the house in order: layers, sizes, banned calls, names. Each message says which file breaks which rule. */
import assert from "node:assert/strict";
import { circlesOf, folderOf, importProblem } from "./layers.ts";
import { importsOf, PROJECT, type SourceFile, sourceFiles, withoutComments } from "./source_tree.ts";

const PRODUCT_ROOTS = ["main.ts", "lib", "scheduler", "pool", "shaders"];
const ALL_ROOTS = [...PRODUCT_ROOTS, "tests", "bench", "deploy"];
/** Generated or foreign trees without sources of ours. */
const NOT_SOURCES = /^(tests\/fixtures|deploy\/(model|eval-set))\//;

const product = sourceFiles(PRODUCT_ROOTS, [".ts"]);
const everything = sourceFiles(ALL_ROOTS, [".ts", ".wgsl"]).filter(({ path }) => !NOT_SOURCES.test(path));
const shaders = sourceFiles(["shaders"], [".wgsl", ".wgsl.ts"]);

/** Fails with the list of problems, if there are any. */
function none(problems: readonly (string | null)[]): void {
  assert.deepEqual(problems.filter((problem) => problem !== null), []);
}

/** Lines of a file's code that match, as "path:line: text". */
function linesWith({ path, text }: SourceFile, pattern: RegExp): string[] {
  // Comments are blanked line by line so that line numbers stay.
  const code = withoutComments(
    text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " ")),
  );
  return code.split("\n").flatMap((line, i) =>
    pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []
  );
}

Deno.test("the house has no rooms at its top level besides the planned ones", () => {
  const planned = [
    ...[
      "deno.json",
      "deno.lock",
      "main.ts",
      "lib",
      "shaders",
      "scheduler",
      "pool",
      "tests",
      "bench",
      "deploy",
    ],
    ...["README.md", "LICENSE", ".ci", ".git", ".gitignore", ".gitattributes"],
  ];
  // What npm or a build leaves lying there is no part of the house.
  const leftovers = ["package.json", "package-lock.json", "node_modules", "dist", ".carry"];
  const { code, stdout } = new Deno.Command("git", {
    args: ["ls-files"],
    cwd: PROJECT,
  }).outputSync();
  const found = code === 0
    ? new Set(new TextDecoder().decode(stdout).trim().split("\n").map((path) => path.split("/")[0]))
    : new Set(
      [...Deno.readDirSync(PROJECT)].map(({ name }) => name).filter((name) => !leftovers.includes(name)),
    );
  none([...found].filter((name) => !planned.includes(name)));
});

Deno.test("imports point down the layers", () => {
  none(
    product.flatMap((file) =>
      importsOf(file)
        .filter((target) => /\.(ts|wgsl)$/.test(target))
        .map((target) => importProblem(file.path, target))
    ),
  );
});

Deno.test("imports run in no circle, neither between folders nor, at run time, between files", () => {
  const folders = new Map<string, Set<string>>(), files = new Map<string, Set<string>>();
  for (const file of product) {
    files.set(file.path, new Set(importsOf(file, "values")));
    const own = folderOf(file.path);
    const others = importsOf(file).map(folderOf).filter((folder) => folder !== own);
    folders.set(own, new Set([...folders.get(own) ?? [], ...others]));
  }
  none([...circlesOf(folders), ...circlesOf(files)]);
});

Deno.test("no file is longer than 400 lines without the reason in its header", () => {
  none(everything.map(({ path, text }) => {
    const lines = text.split("\n").length - 1;
    const header = text.split("\n").slice(0, 10).join("\n");
    return lines <= 400 || /longer than 400 lines because/.test(header) ? null : `${path}: ${lines} lines`;
  }));
});

Deno.test("half of all files have fewer than 150 lines", () => {
  const lengths = everything.map(({ text }) => text.split("\n").length - 1).sort((a, b) => a - b);
  assert.ok(lengths[Math.floor(lengths.length / 2)] < 150, `the median is ${lengths[lengths.length >> 1]}`);
});

Deno.test("file names are snake_case", () => {
  const name = /^[a-z0-9]+(_[a-z0-9]+)*(\.wgsl)?(\.ts)?$/;
  none(everything.map(({ path }) => name.test(path.split("/").at(-1)!) ? null : path));
});

Deno.test("the wall clock, timers and unseeded randomness are used in lib/core alone", () => {
  const banned = /\bDate\.now\b|\bMath\.random\b|\bset(Timeout|Interval)\b/;
  none(
    everything.filter(({ path }) => !path.startsWith("lib/core/")).flatMap((file) => {
      // This file names them to ban them.
      return file.path === "tests/tidy/house_test.ts" ? [] : linesWith(file, banned);
    }),
  );
});

Deno.test("no type is any", () => {
  none(
    everything.filter(({ path }) => path.endsWith(".ts")).flatMap((file) =>
      linesWith(file, /[:<|,&]\s*any\b(?!["'`])|\bas any\b/)
    ),
  );
});

Deno.test("only lib/gpu touches WebGPU", () => {
  const webgpu = /\bnavigator\.gpu\b|\bGPU(Device|Buffer|Adapter|Queue|ComputePipeline|ShaderModule)\b/;
  none(
    everything.filter(({ path }) => !/^(lib\/gpu|tests)\//.test(path)).flatMap((file) =>
      linesWith(file, webgpu)
    ),
  );
});

Deno.test("only lib/api imports Hono", () => {
  none(
    product.filter(({ path }) => !path.startsWith("lib/api/")).flatMap((file) =>
      importsOf(file).filter((target) => /^(npm:)?hono\b/.test(target)).map((target) =>
        `${file.path}: ${target}`
      )
    ),
  );
});

/** Operations of the contract, by their names in snake_case. */
function operations(): string[] {
  const contract = product.find(({ path }) => path === "lib/ops/backend.ts")!.text;
  const step = contract.slice(contract.indexOf("export interface Step {"));
  const methods = [...step.matchAll(/^ {2}([a-z]\w*)\(\s*o: /gm)].map((match) => match[1]);
  return methods.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

Deno.test("every operation of the contract has a reference and a parity test", () => {
  const names = operations();
  assert.equal(names.length, 30, "the operations were found in the contract");
  const paths = new Set(everything.map(({ path }) => path));
  none(
    names.flatMap((name) => [`tests/reference/${name}.ts`, `tests/parity/${name}_test.ts`])
      .map((path) => paths.has(path) ? null : `${path} is missing`),
  );
});

Deno.test("every kernel names its reference in its header, and the reference is there", () => {
  none(shaders.map(({ path, text }) => {
    const header = text.split("\n").slice(0, 30).join("\n");
    const named = /Reference: .*/.exec(header)?.[0].match(/\b(tests|lib)\/[\w/]+\.ts\b/g) ?? [];
    if (named.length === 0) return `${path} names no reference`;
    const missing = named.filter((reference) => !everything.some((file) => file.path === reference));
    return missing.length === 0 ? null : `${path} names ${missing}, which is missing`;
  }));
});
