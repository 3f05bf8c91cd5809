/** Several scenes of one conversation; some are an edit of an earlier one. */
import type { Draws } from "../draws.ts";
import {
  COLOUR_NAMES,
  COLOURS,
  contrasts,
  makeScene,
  place,
  PLACES,
  type Scene,
  shade,
  SHAPES,
  SIZES,
} from "./scene.ts";
import { nameOf } from "./wording.ts";

/** What differs between two scenes of a set, by index. */
export interface Change {
  readonly before: number;
  readonly after: number;
  readonly sentence: string;
}

export interface SceneSet {
  readonly scenes: readonly Scene[];
  readonly change: Change | null;
}

/** A copy with at most one change and the sentence that names it. */
export function editScene(draws: Draws, scene: Scene): { readonly scene: Scene; readonly sentence: string } {
  const objects = scene.objects.map((object) => ({ ...object }));
  const background = { ...scene.background, noiseSeed: draws.integer(0, 0xffff_ffff) };
  const edited = { objects, background };
  const kind = draws.float();
  if (kind < 0.2) return { scene: edited, sentence: "nothing changed" };
  if (kind < 0.52 && objects.length > 0) {
    const object = draws.pick(objects);
    const { from, to } = background;
    const fitting = COLOUR_NAMES.filter((name) =>
      name !== object.colour && contrasts(COLOURS[name], from) && contrasts(COLOURS[name], to)
    );
    if (fitting.length > 0) {
      const old = object.colour;
      object.colour = draws.pick(fitting);
      object.rgb = shade(draws, object.colour);
      return { scene: edited, sentence: `the ${old} ${object.shape} became ${object.colour}` };
    }
  }
  if (kind < 0.75 && objects.length > 1) {
    const [removed] = objects.splice(draws.integer(0, objects.length - 1), 1);
    return { scene: edited, sentence: `${nameOf(removed)} was removed` };
  }
  const taken = new Set(objects.map(({ cell }) => cell));
  const free = PLACES.map((_, cell) => cell).filter((cell) => !taken.has(cell));
  const colours = objects.length > 0 ? objects.map(({ colour }) => colour) : COLOUR_NAMES;
  const added = place(draws, {
    colour: draws.pick(colours),
    shape: draws.pick(SHAPES),
    size: draws.pick(SIZES),
    cell: draws.pick(free),
  });
  objects.push(added);
  objects.sort((a, b) => a.cell - b.cell);
  return { scene: edited, sentence: `${nameOf(added)} was added` };
}

/** `count` scenes of one to four objects; in three of five sets one is an edit of an earlier one. */
export function makeSet(draws: Draws, count: number): SceneSet {
  const scenes = Array.from({ length: count }, () => makeScene(draws, draws.integer(1, 4)));
  if (!draws.chance(0.6)) return { scenes, change: null };
  const [before, after] = draws.sample([...scenes.keys()], 2).sort((a, b) => a - b);
  const { scene, sentence } = editScene(draws, scenes[before]);
  scenes[after] = scene;
  return { scenes, change: { before, after, sentence } };
}
