/** The pool's layouts: pages from the buddy allocator, or one reservation of the longest length a request. */
import { fileURLToPath } from "node:url";

export const LAYOUTS = ["paged", "contiguous"] as const;
export type Layout = typeof LAYOUTS[number];

/** What the server's help text names can be asked for. */
export async function serverFlagNames(): Promise<ReadonlySet<string>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "main.ts", "--help"],
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    stdin: "null",
    stderr: "null",
  }).output();
  return new Set(
    [...new TextDecoder().decode(stdout).matchAll(/^ {2}--([a-z-]+)/gm)].map((match) => match[1]),
  );
}

/** The layouts that this server has a flag for; without the flag it has pages only. */
export async function layoutsOf(say: (line: string) => void): Promise<readonly Layout[]> {
  if ((await serverFlagNames()).has("pool")) return LAYOUTS;
  say("this server has no --pool: only its pages are measured");
  return ["paged"];
}

export function layoutFlags(layout: Layout): string[] {
  return layout === "paged" ? [] : ["--pool", layout];
}
