/** What a result was measured on, and which state of the code. */
import { cpus } from "node:os";

/** Such as `xeon-platinum-8481c-2-cores`. */
export function machineName(): string {
  const list = cpus();
  const model = (list[0]?.model ?? "processor").toLowerCase()
    .replace(/\((r|tm)\)|\bcpu\b|\bprocessor\b|\bintel\b|\bamd\b|@.*$/g, " ");
  const words = model.split(/[^a-z0-9]+/).filter((word) => word !== "");
  return `${words.join("-") || "processor"}-${list.length}-cores`;
}

/** The commit, with a + where files differ from it; "unknown" outside a repository. */
export function commitName(): string {
  const git = (...args: string[]) => {
    try {
      const { code, stdout } = new Deno.Command("git", {
        args,
        cwd: new URL("..", import.meta.url),
        stderr: "null",
      }).outputSync();
      return code === 0 ? new TextDecoder().decode(stdout).trim() : null;
    } catch {
      return null;
    }
  };
  const commit = git("rev-parse", "--short", "HEAD");
  if (commit === null) return "unknown";
  return git("status", "--porcelain", "--untracked-files=no") === "" ? commit : `${commit}+`;
}
