/** Folders of npm packages that cannot be compiled in. */

/**
 * Deno 2.9 takes every file of an npm package for a module, and parsing `test/samples/10k` of bintrees (ten thousand
 * numbers that read as one subtraction) overflows its stack: denoland/deno#36746. To be removed when prom-client no
 * longer depends on bintrees, or when the compiler survives it.
 */
const UNPARSABLE = { package: "bintrees", folder: "test" };

/** Where those folders are in Deno's cache, whatever registry they came from. Fetches the packages first. */
export async function unparsableFolders(): Promise<string[]> {
  const project = new URL("..", import.meta.url);
  await new Deno.Command(Deno.execPath(), { args: ["cache", "main.ts"], cwd: project, stdin: "null" })
    .output();
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stdin: "null" })
    .output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout)) as { npmCache: string };
  const folders: string[] = [];
  for (const registry of names(npmCache)) {
    const versions = `${npmCache}/${registry}/${UNPARSABLE.package}`;
    for (const version of names(versions)) folders.push(`${versions}/${version}/${UNPARSABLE.folder}`);
  }
  return folders;
}

/** Subfolders of a folder that may not be there. */
function names(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].filter((entry) => entry.isDirectory).map((entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
