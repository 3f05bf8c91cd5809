/** The project's own source files, as the tidy tests read them. */
import { fileURLToPath } from "node:url";

export const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

export interface SourceFile {
  /** From the project's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Every file of the given endings below the given folders (or the files themselves), in the order of their paths. */
export function sourceFiles(roots: readonly string[], endings: readonly string[]): SourceFile[] {
  return roots.flatMap(walk).filter((path) => endings.some((ending) => path.endsWith(ending))).sort()
    .map((path) => ({ path, text: Deno.readTextFileSync(PROJECT + path) }));
}

function walk(path: string): string[] {
  if (Deno.statSync(PROJECT + path).isFile) return [path];
  return [...Deno.readDirSync(PROJECT + path)].flatMap((entry) => walk(`${path}/${entry.name}`));
}

/** Text without comments, so that a rule about code does not trip over a sentence about it. Strings stay. */
export function withoutComments(text: string): string {
  const tokens = /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(tokens, (_, string: string | undefined) => string ?? "");
}

/**
 * What a module imports, by static and dynamic imports and by `new URL(…, import.meta.url)`; relative ones as paths.
 * "values" leaves out what is imported for its types alone: nothing of it is left at run time.
 */
export function importsOf({ path, text }: SourceFile, kind: "all" | "values" = "all"): string[] {
  const all = withoutComments(text);
  const code = kind === "all"
    ? all
    : all.replace(/\b(?:import|export) type\b[^"';]*\bfrom\s*["'][^"']+["']/g, "");
  const patterns = [
    /\b(?:import|export)\b[^"';]*?\bfrom\s*["']([^"']+)["']/g,
    /\bimport\s*["']([^"']+)["']/g,
    /\bimport\(\s*["']([^"']+)["']/g,
    /\bnew URL\(\s*["'](\.[^"']+)["']\s*,\s*import\.meta\.url/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => resolve(path, match[1])));
}

function resolve(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}
