/** The layers of the house, lowest first: a file imports from lower layers, its own folder, and folders beside it. */
const LAYERS: readonly (readonly string[])[] = [
  ["lib/core"],
  ["pool", "shaders", "lib/ops"],
  ["lib/gpu", "lib/wasm", "lib/model", "lib/text", "lib/image"],
  ["lib/engine", "lib/train"],
  ["scheduler"],
  ["lib/api", "lib/cli"],
  ["main.ts"],
];

/** Folders that import anything and that nothing of the product imports. */
const OUTSIDE = ["tests", "bench", "deploy"];

/** Pairs that the layers would allow and the plan does not: what they share is passed to them as plain data. */
const APART: readonly (readonly [from: string, to: string])[] = [
  ["lib/engine", "pool"],
  ["lib/engine", "lib/text"],
  ["scheduler", "lib/gpu"],
];

/** Why `from` may not import `to` (both paths from the root); null when it may. */
export function importProblem(from: string, to: string): string | null {
  if (OUTSIDE.some((folder) => inside(to, folder))) {
    return `${from} imports ${to}: nothing imports that folder`;
  }
  const source = layerOf(from), target = layerOf(to);
  if (source < 0) return `${from} is in no layer`;
  if (target < 0) return `${from} imports ${to}, which is in no layer`;
  if (target > source) return `${from} (layer ${source}) imports ${to} (layer ${target}): imports point down`;
  const apart = APART.find(([a, b]) => inside(from, a) && inside(to, b));
  return apart === undefined ? null : `${from} imports ${to}: ${apart[0]} knows nothing of ${apart[1]}`;
}

function layerOf(path: string): number {
  return LAYERS.findIndex((folders) => folders.some((folder) => inside(path, folder)));
}

function inside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The room a file belongs to: `lib/gpu`, `scheduler`, `main.ts`. */
export function folderOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "lib" ? parts.slice(0, 2).join("/") : parts[0];
}

/** The circles of a graph, one for each edge that closes one, as "a → b → a". */
export function circlesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const done = new Set<string>(), circles: string[] = [];
  const visit = (node: string, trail: readonly string[]) => {
    if (trail.includes(node)) circles.push([...trail.slice(trail.indexOf(node)), node].join(" → "));
    else if (!done.has(node)) {
      for (const next of edges.get(node) ?? []) visit(next, [...trail, node]);
      done.add(node);
    }
  };
  for (const node of edges.keys()) visit(node, []);
  return circles;
}
