/** How people name what they see, and how they type. */
import type { Draws } from "../draws.ts";
import {
  type Colour,
  COLOUR_NAMES,
  PLACES,
  type Scene,
  type SceneObject,
  type Shape,
  SHAPES,
  type Size,
  SIZES,
} from "./scene.ts";

/** Attributes that an object may have; absent ones are not asked for. */
export interface Query {
  readonly size?: Size;
  readonly colour?: Colour;
  readonly shape?: Shape;
}
export type Attribute = keyof Query;

/** A question with its one right answer. */
export interface Asked {
  readonly question: string;
  readonly answer: string;
}

export const IMAGE_WORDS = ["image", "image", "picture", "photo", "scene"] as const;
export const OBJECT_WORDS = ["object", "shape", "thing"] as const;

export function withArticle(noun: string): string {
  return (/^[aeiou]/.test(noun) ? "an " : "a ") + noun;
}

export function matches(object: SceneObject, query: Query): boolean {
  return (Object.keys(query) as Attribute[]).every((key) => object[key] === query[key]);
}

export function countOf(scene: Scene, query: Query): number {
  return scene.objects.filter((object) => matches(object, query)).length;
}

export function attributesOf(object: SceneObject, keys: readonly Attribute[]): Query {
  return Object.fromEntries(keys.map((key) => [key, object[key]]));
}

/** "big red star", "red object", "stars". */
export function noun(draws: Draws, { size, colour, shape }: Query, plural = false): string {
  const words: string[] = [];
  if (size !== undefined) words.push(size === "small" || draws.chance(0.8) ? size : "large");
  if (colour !== undefined) words.push(colour);
  const last = shape ?? draws.pick(OBJECT_WORDS);
  words.push(plural ? (last === "cross" ? "crosses" : `${last}s`) : last);
  return words.join(" ");
}

export function nameOf({ colour, shape }: SceneObject): string {
  return withArticle(`${colour} ${shape}`);
}

export function atPlace(draws: Draws, cell: number): string {
  const name = PLACES[cell];
  if (name === "center") {
    return draws.pick(["in the center", "in the center", "in the middle", "at the center"]);
  }
  if (name === "left" || name === "right") return draws.pick([`on the ${name}`, `at the ${name}`]);
  return draws.pick([`at the ${name}`, `at the ${name}`, `in the ${name}`]);
}

export function inImage(draws: Draws, probability = 0.3): string {
  if (!draws.chance(probability)) return "";
  return draws.pick([" in the ", " in this "]) + draws.pick(IMAGE_WORDS);
}

/** Capital letter, question mark, a little politeness. */
export function styled(draws: Draws, text: string): string {
  let out = draws.chance(0.06) && /^(describe|list|find|tell)/.test(text) ? `please ${text}` : text;
  if (draws.chance(0.35)) out = out[0].toUpperCase() + out.slice(1);
  if (/^(describe|list|find|please|tell)/i.test(out)) return draws.chance(0.3) ? `${out}.` : out;
  return draws.chance(0.6) ? `${out}?` : out;
}

const REFERENCES: readonly (readonly [readonly Attribute[], number])[] = [
  [["shape"], 4],
  [["colour"], 2],
  [["colour", "shape"], 6],
  [["size", "shape"], 2],
  [["size", "colour"], 1],
  [["size", "colour", "shape"], 1],
];

/** Attributes that single this object out, never `forbidden`; null where none do. */
export function refer(
  draws: Draws,
  scene: Scene,
  object: SceneObject,
  forbidden?: Attribute,
): Query | null {
  const good = REFERENCES.filter(([keys]) =>
    (forbidden === undefined || !keys.includes(forbidden)) &&
    countOf(scene, attributesOf(object, keys)) === 1
  );
  if (good.length === 0) return null;
  return attributesOf(object, draws.weighted(good.map(([keys]) => keys), good.map(([, weight]) => weight)));
}

export function pickKeys(draws: Draws, sizes = true): readonly Attribute[] {
  return draws.weighted<readonly Attribute[]>(
    [["shape"], ["colour"], ["colour", "shape"], ["size", "shape"], ["size", "colour", "shape"]],
    [25, 22, 43, sizes ? 6 : 0, sizes ? 4 : 0],
  );
}

/** Attributes that no object has together, close to what is there when possible; null where none is found. */
export function absentQuery(draws: Draws, scene: Scene, keys: readonly Attribute[]): Query | null {
  const { objects } = scene;
  for (let attempt = 0; attempt < 20; attempt++) {
    const near = objects.length > 0 && keys.length > 1 && attempt < 10 && draws.chance(0.65);
    const query = {
      ...(keys.includes("colour")
        ? { colour: near ? draws.pick(objects).colour : draws.pick(COLOUR_NAMES) }
        : {}),
      ...(keys.includes("shape")
        ? { shape: near && draws.chance(0.7) ? draws.pick(objects).shape : draws.pick(SHAPES) }
        : {}),
      ...(keys.includes("size") ? { size: draws.pick(SIZES) } : {}),
    };
    if (countOf(scene, query) === 0) return query;
  }
  return null;
}

/** Every object and its place, in the order of the places. */
export function caption({ objects }: Scene): string {
  if (objects.length === 0) return "nothing";
  return objects.map((object) => {
    const name = PLACES[object.cell];
    const preposition = name === "center"
      ? "in the"
      : name === "left" || name === "right"
      ? "on the"
      : "at the";
    return `${nameOf(object)} ${preposition} ${name}`;
  }).join(", ");
}
