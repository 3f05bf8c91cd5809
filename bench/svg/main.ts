/**
 * Plots: reads a JSON array of `{ path, spec }` (Vega-Lite) from standard input and writes each as an SVG file. A program
 * of its own, with its own deno.json and lock file, so that who only starts the server need not download what draws plots.
 */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

interface Plot {
  readonly path: string;
  readonly spec: TopLevelSpec;
}

const plots = JSON.parse(await new Response(Deno.stdin.readable).text()) as readonly Plot[];
for (const { path, spec } of plots) {
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  await Deno.writeTextFile(path, await view.toSVG());
  view.finalize();
}
