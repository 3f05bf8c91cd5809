/** Questions over several pictures. */
import type { Draws } from "../draws.ts";
import { type Kind, KINDS } from "./questions.ts";
import { COLOUR_NAMES, PLACES, type Scene, type SceneObject, SHAPES } from "./scene.ts";
import type { SceneSet } from "./sets.ts";
import {
  type Asked,
  type Attribute,
  attributesOf,
  countOf,
  noun,
  OBJECT_WORDS,
  pickKeys,
  type Query,
  styled,
  withArticle,
} from "./wording.ts";

type SetQuestion = (draws: Draws, set: SceneSet) => Asked | null;

function imagesWith(scenes: readonly Scene[], query: Query): number[] {
  return scenes.flatMap((scene, index) => countOf(scene, query) > 0 ? [index] : []);
}

/** A query whose set of matching images passes the test; null where none is found. */
function findQuery(
  draws: Draws,
  scenes: readonly Scene[],
  test: (images: readonly number[]) => boolean,
): Query | null {
  const pool = scenes.flatMap(({ objects }) => objects);
  for (let attempt = 0; attempt < 30; attempt++) {
    const keys = pickKeys(draws, false);
    const query = draws.chance(0.8) ? attributesOf(draws.pick(pool), keys) : {
      ...(keys.includes("colour") ? { colour: draws.pick(COLOUR_NAMES) } : {}),
      ...(keys.includes("shape") ? { shape: draws.pick(SHAPES) } : {}),
    };
    if (test(imagesWith(scenes, query))) return query;
  }
  return null;
}

function something(draws: Draws, query: Query): string {
  const colourAlone = query.colour !== undefined && query.shape === undefined;
  return colourAlone && draws.chance(0.5) ? `something ${query.colour}` : withArticle(noun(draws, query));
}

const whichImage: SetQuestion = (draws, { scenes }) => {
  const wanted = draws.integer(0, scenes.length - 1);
  const query = findQuery(draws, scenes, (images) => images.length === 1 && images[0] === wanted) ??
    findQuery(draws, scenes, (images) => images.length === 1);
  if (query === null) return null;
  const start = draws.pick([
    ...["which image has", "which image has", "which image shows", "which image contains"],
    ...["which picture has", "in which image is there"],
  ]);
  const answer = `image ${imagesWith(scenes, query)[0] + 1}`;
  return { question: `${start} ${something(draws, query)}`, answer };
};

const countImages: SetQuestion = (draws, { scenes }) => {
  const wanted = draws.integer(0, scenes.length);
  const query = findQuery(draws, scenes, (images) => images.length === wanted) ??
    findQuery(draws, scenes, () => true)!;
  const start = draws.pick([
    ...["how many images show", "how many images have", "how many images contain"],
    "how many pictures have",
  ]);
  return {
    question: `${start} ${something(draws, query)}`,
    answer: String(imagesWith(scenes, query).length),
  };
};

const INDEXED: readonly Kind[] = ["exist", "colour", "shape", "count", "position", "identify", "caption"];

const indexed: SetQuestion = (draws, { scenes }) => {
  const index = draws.integer(0, scenes.length - 1);
  const tail = ` in image ${index + 1}`;
  const kind = draws.weighted(INDEXED, [3, 5, 3, 3, 4, 2, 2]);
  const asked = KINDS[kind](draws, scenes[index], tail);
  if (asked === null || !asked.question.endsWith(tail) || draws.chance(0.5)) return asked;
  return { ...asked, question: `in image ${index + 1}, ${asked.question.slice(0, -tail.length)}` };
};

const NEEDLE_KEYS: readonly (readonly Attribute[])[] = [["shape"], ["colour"], ["colour", "shape"]];

/** An object that singles itself out over all the images: find it, or read its colour or shape. */
const needle: SetQuestion = (draws, { scenes }) => {
  const items = scenes.flatMap(({ objects }, image) => objects.map((object) => ({ image, object })));
  const alone = (object: SceneObject, keys: readonly Attribute[]) => {
    const query = attributesOf(object, keys);
    return scenes.reduce((sum, scene) => sum + countOf(scene, query), 0) === 1;
  };
  for (const { image, object } of draws.shuffled(items)) {
    const kind = draws.float();
    if (kind < 0.4 && alone(object, ["shape"])) {
      return {
        question: `what ${draws.pick(["colour", "color"])} is the ${object.shape}`,
        answer: object.colour,
      };
    }
    if (kind < 0.55 && alone(object, ["colour"])) {
      return {
        question: `what shape is the ${object.colour} ${draws.pick(["object", "thing"])}`,
        answer: object.shape,
      };
    }
    const keys = kind < 0.55 ? undefined : draws.shuffled(NEEDLE_KEYS).find((keys) => alone(object, keys));
    if (keys === undefined) continue;
    const start = draws.pick(["find", "find", "where is"]);
    return {
      question: `${start} the ${noun(draws, attributesOf(object, keys))}`,
      answer: `image ${image + 1}, ${PLACES[object.cell]}`,
    };
  }
  return null;
};

const difference: SetQuestion = (draws, { change }) => {
  if (change === null) return null;
  const [i, j] = [change.before + 1, change.after + 1];
  const question = draws.pick([
    `what changed from image ${i} to image ${j}`,
    `what is the difference between image ${i} and image ${j}`,
    `what changed between image ${i} and image ${j}`,
    `what is different between image ${i} and image ${j}`,
    `compare image ${i} and image ${j}`,
  ]);
  return { question, answer: change.sentence };
};

const same: SetQuestion = (draws, { change }) => {
  if (change === null) return null;
  const [i, j] = [change.before + 1, change.after + 1];
  const question = draws.pick([
    `are image ${i} and image ${j} the same`,
    `is image ${i} the same as image ${j}`,
    `do image ${i} and image ${j} show the same thing`,
  ]);
  return { question, answer: change.sentence === "nothing changed" ? "yes" : "no" };
};

const most: SetQuestion = (draws, { scenes }) => {
  const counts = scenes.map(({ objects }) => objects.length);
  const word = draws.pick(["most", "most", "fewest"]);
  const best = word === "most" ? Math.max(...counts) : Math.min(...counts);
  if (counts.filter((count) => count === best).length !== 1) return null;
  const verb = draws.pick(["has", "shows"]);
  const question = `which image ${verb} the ${word} ${draws.pick(OBJECT_WORDS)}s`;
  return { question, answer: `image ${counts.indexOf(best) + 1}` };
};

export const SET_KINDS = {
  which_image: whichImage,
  count_images: countImages,
  indexed,
  needle,
  difference,
  same,
  most,
} as const satisfies Record<string, SetQuestion>;
export type SetKind = keyof typeof SET_KINDS;

/** null when this set does not allow the question. */
export function askSet(draws: Draws, set: SceneSet, kind: SetKind): Asked | null {
  const asked = SET_KINDS[kind](draws, set);
  return asked === null ? null : { ...asked, question: styled(draws, asked.question) };
}
