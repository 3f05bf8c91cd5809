/** Questions about what is there and what it is like: existence, colour, shape, size, number. */
import type { Draws } from "../draws.ts";
import { COLOUR_NAMES, type Scene, type SceneObject, SHAPES, SIZES } from "./scene.ts";
import {
  absentQuery,
  type Asked,
  atPlace,
  type Attribute,
  attributesOf,
  countOf,
  IMAGE_WORDS,
  inImage,
  noun,
  OBJECT_WORDS,
  pickKeys,
  type Query,
  refer,
  withArticle,
} from "./wording.ts";

/** Every question takes `where`, as " in image 2", where there are several pictures; null where the scene has no such question. */
export type Question = (draws: Draws, scene: Scene, where: string) => Asked | null;

export const exist: Question = (draws, scene, where) => {
  const keys = pickKeys(draws);
  const present = scene.objects.length > 0 && draws.chance(0.5);
  const query = present ? attributesOf(draws.pick(scene.objects), keys) : absentQuery(draws, scene, keys);
  if (query === null) return null;
  const answer = present ? "yes" : "no";
  if (draws.chance(0.15)) {
    const start = draws.pick(["are there any", "do you see any", "can you see any"]);
    return { question: `${start} ${noun(draws, query, true)}${where || inImage(draws)}`, answer };
  }
  const colourAlone = keys.length === 1 && keys[0] === "colour";
  const what = colourAlone && draws.chance(0.58)
    ? `${draws.pick(["anything", "something"])} ${query.colour}`
    : withArticle(noun(draws, query));
  if (where === "" && draws.chance(0.15)) {
    return {
      question: `does the ${draws.pick(IMAGE_WORDS)} ${draws.pick(["show", "contain", "have"])} ${what}`,
      answer,
    };
  }
  const start = draws.pick(["is there", "is there", "do you see", "can you see"]);
  return { question: `${start} ${what}${where || inImage(draws)}`, answer };
};

/** "the small star", never with the attribute that is asked for; null where nothing singles it out. */
function reference(
  draws: Draws,
  scene: Scene,
  object: SceneObject,
  asked: Attribute,
  where: string,
  words: readonly string[],
): string | null {
  if (where === "" && draws.chance(0.15)) return `the ${draws.pick(words)} ${atPlace(draws, object.cell)}`;
  const query = refer(draws, scene, object, asked);
  const alone = scene.objects.length === 1;
  if (query === null && !alone) return null;
  if (asked === "colour" && (query === null || alone && draws.chance(0.3))) {
    return `${draws.pick(["the", "this"])} ${draws.pick(words)}`;
  }
  if (asked === "colour") return `the ${noun(draws, query!)}`;
  return ["the", ...[query?.size, query?.colour].filter((word) => word !== undefined), draws.pick(words)]
    .join(" ");
}

export const colour: Question = (draws, scene, where) => {
  if (scene.objects.length === 0) return null;
  const object = draws.pick(scene.objects);
  const ref = reference(draws, scene, object, "colour", where, OBJECT_WORDS);
  if (ref === null) return null;
  const word = draws.pick(["colour", "color"]);
  const text = draws.weighted(
    [`what ${word} is ${ref}`, `what is the ${word} of ${ref}`, `which ${word} is ${ref}`],
    [7, 2, 1],
  );
  return { question: text + where, answer: object.colour };
};

export const shape: Question = (draws, scene, where) => {
  if (scene.objects.length === 0) return null;
  const object = draws.pick(scene.objects);
  const ref = reference(draws, scene, object, "shape", where, ["object", "thing"]);
  if (ref === null) return null;
  const text = draws.weighted(
    [`what shape is ${ref}`, `what is the shape of ${ref}`, `which shape is ${ref}`],
    [75, 15, 10],
  );
  return { question: text + where, answer: object.shape };
};

export const count: Question = (draws, scene, where) => {
  const queries: Query[] = [
    ...SHAPES.map((shape) => ({ shape })),
    ...COLOUR_NAMES.map((colour) => ({ colour })),
    ...SIZES.map((size) => ({ size })),
    ...scene.objects.map(({ colour, shape }) => ({ colour, shape })),
    ...[{}, {}, {}, {}],
  ];
  const byCount = Map.groupBy(queries, (query) => countOf(scene, query));
  const counts = [...byCount.keys()].sort((a, b) => a - b);
  const value = draws.weighted(counts, counts.map((n) => n === 0 ? 0.6 : 1));
  const query = draws.pick(byCount.get(value)!);
  const what = noun(draws, query, true);
  const tail = where ||
    (draws.chance(0.3) ? (Object.keys(query).length > 0 ? inImage(draws, 1) : " in total") : "");
  const text = draws.weighted([
    `how many ${what} are there${tail}`,
    `how many ${what}${where}`,
    `how many ${what} do you see${where}`,
    `count the ${what}${where}`,
  ], [55, 20, where === "" ? 15 : 0, 10]);
  return { question: text, answer: String(value) };
};

export const size: Question = (draws, scene, where) => {
  const { objects } = scene;
  if (objects.length === 0) return null;
  if (objects.length === 1 || draws.chance(0.4)) {
    const object = draws.pick(objects);
    const query = refer(draws, scene, object, "size");
    if (query === null) return null;
    const ref = `the ${noun(draws, query)}`;
    const text = draws.pick([
      `is ${ref} big or small`,
      `is ${ref} small or big`,
      `what size is ${ref}`,
      `what is the size of ${ref}`,
      `how big is ${ref}`,
    ]);
    return { question: text + where, answer: object.size };
  }
  for (let attempt = 0; attempt < 8; attempt++) {
    const [one, other] = draws.sample(objects, 2);
    if (one.size === other.size) continue;
    const [a, b] = [refer(draws, scene, one, "size"), refer(draws, scene, other, "size")];
    if (a === null || b === null) continue;
    const [refA, refB] = [`the ${noun(draws, a)}`, `the ${noun(draws, b)}`];
    const word = draws.pick(["bigger", "bigger", "larger", "smaller", "smaller"]);
    const right = one.size === (word === "smaller" ? "small" : "big");
    if (draws.chance(0.6)) {
      return { question: `is ${refA} ${word} than ${refB}${where}`, answer: right ? "yes" : "no" };
    }
    return { question: `which is ${word}, ${refA} or ${refB}${where}`, answer: right ? refA : refB };
  }
  return null;
};
