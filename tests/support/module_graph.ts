/** What `deno compile` takes along by itself: the modules that run from given entry points. */
import { fileURLToPath } from "node:url";

export interface RunningModules {
  /** Paths of local modules. */
  readonly files: ReadonlySet<string>;
  /** `/name/version/` of every npm package, as it stands in the paths of Deno's cache. */
  readonly packages: readonly string[];
}

/** `deno info --json`, as far as it is read here. */
interface Info {
  readonly roots: readonly string[];
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    /** `code` is absent where only types are imported: such a module is not loaded. */
    readonly dependencies?: readonly { readonly code?: { readonly specifier?: string } }[];
  }[];
  readonly npmPackages: Readonly<Record<string, { readonly name: string; readonly version: string }>>;
}

/** `project` is the folder of the entries, with deno.json. */
export async function runningModules(project: string, entries: readonly string[]): Promise<RunningModules> {
  const files = new Set<string>();
  const packages = new Set<string>();
  for (const entry of entries) {
    const info = await moduleInfo(project, entry);
    const modules = new Map(info.modules.map((module) => [module.specifier, module]));
    const open = [...info.roots];
    for (let specifier = open.pop(); specifier !== undefined; specifier = open.pop()) {
      const module = modules.get(specifier);
      if (module?.error !== undefined) throw new Error(module.error);
      if (!specifier.startsWith("file:") || files.has(fileURLToPath(specifier))) continue;
      files.add(fileURLToPath(specifier));
      for (const { code } of module?.dependencies ?? []) if (code?.specifier) open.push(code.specifier);
    }
    for (const { name, version } of Object.values(info.npmPackages)) packages.add(`/${name}/${version}/`);
  }
  return { files, packages: [...packages] };
}

async function moduleInfo(project: string, entry: string): Promise<Info> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", entry],
    cwd: project,
  })
    .output();
  return JSON.parse(new TextDecoder().decode(stdout)) as Info;
}
