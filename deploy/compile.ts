/** `deno task compile`: the program, its shaders, its workers and the default model as one file, dist/fastcache. */
import { compileArguments } from "./embedded.ts";
import { unparsableFolders } from "./npm_cache.ts";

const OUTPUT = Deno.build.os === "windows" ? "dist/fastcache.exe" : "dist/fastcache";

/** Runs the compiler, shows what it says, and returns its exit code and what it said. */
async function compile(): Promise<{ code: number; said: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: compileArguments(OUTPUT, await unparsableFolders()),
    cwd: new URL("..", import.meta.url),
    stdin: "null",
    stdout: "inherit",
    stderr: "piped",
  }).spawn();
  const decoder = new TextDecoder();
  let said = "";
  for await (const bytes of child.stderr) {
    Deno.stderr.writeSync(bytes);
    said += decoder.decode(bytes, { stream: true });
  }
  return { code: (await child.status).code, said };
}

const { code, said } = await compile();
if (code === 0) {
  console.log(`wrote ${OUTPUT}`);
} else if (/denort|Setting up base binary/.test(said)) {
  const version = `${Deno.version.deno} for ${Deno.build.target}`;
  console.error(
    Deno.env.get("DENORT_BIN") === undefined
      ? `cannot compile: the runtime stub (denort ${version}) could not be downloaded from dl.deno.land, and DENORT_BIN ` +
        "is not set. Connect this machine to the network, or set DENORT_BIN to a denort of the same version"
      : `cannot compile: DENORT_BIN names no usable runtime stub (denort ${version} is needed)`,
  );
}
if (code !== 0) removeEmpty("dist");
Deno.exit(code === 0 ? 0 : 1);

/** Removes a folder of the project that holds nothing; the compiler makes its output's folder before it needs it. */
function removeEmpty(name: string): void {
  try {
    Deno.removeSync(new URL(`../${name}`, import.meta.url));
  } catch {
    // It holds something, or is not there.
  }
}
