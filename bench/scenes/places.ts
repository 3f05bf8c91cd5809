/** Questions about where things are: position, relation, what is at a place, and the whole picture in words. */
import { columnOf, PLACES, rowOf } from "./scene.ts";
import type { Question } from "./attributes.ts";
import { atPlace, caption, IMAGE_WORDS, inImage, nameOf, noun, refer } from "./wording.ts";

type Relation = "left of" | "right of" | "above" | "below";

const HOLDS: Readonly<Record<Relation, (cell: number, other: number) => boolean>> = {
  "left of": (cell, other) => columnOf(cell) < columnOf(other),
  "right of": (cell, other) => columnOf(cell) > columnOf(other),
  "above": (cell, other) => rowOf(cell) < rowOf(other),
  "below": (cell, other) => rowOf(cell) > rowOf(other),
};
const RELATIONS = Object.keys(HOLDS) as Relation[];
const OPPOSITE: Readonly<Record<Relation, Relation>> = {
  "left of": "right of",
  "right of": "left of",
  "above": "below",
  "below": "above",
};
const WORDS: Readonly<Record<Relation, readonly string[]>> = {
  "left of": ["left of", "left of", "to the left of", "on the left of"],
  "right of": ["right of", "right of", "to the right of", "on the right of"],
  "above": ["above", "above", "over"],
  "below": ["below", "below", "under"],
};

/** Asked when exactly one object qualifies. */
export const relation: Question = (draws, scene, where) => {
  const options = scene.objects.flatMap((object) =>
    RELATIONS.map((relation) => ({
      object,
      relation,
      hits: scene.objects.filter(({ cell }) => HOLDS[relation](cell, object.cell)),
    }))
  ).filter(({ hits }) => hits.length === 1);
  for (const { object, relation, hits } of draws.shuffled(options).slice(0, 6)) {
    const query = refer(draws, scene, object);
    if (query === null) continue;
    const start = draws.pick(["what is", "what is", "what's", "which object is"]);
    const question = `${start} ${draws.pick(WORDS[relation])} the ${noun(draws, query)}${where}`;
    return { question, answer: nameOf(hits[0]) };
  }
  return null;
};

export const relationYesNo: Question = (draws, scene, where) => {
  if (scene.objects.length < 2) return null;
  for (let attempt = 0; attempt < 8; attempt++) {
    const [one, other] = draws.sample(scene.objects, 2);
    const [a, b] = [refer(draws, scene, one), refer(draws, scene, other)];
    if (a === null || b === null) continue;
    const holds = draws.pick(RELATIONS.filter((relation) => HOLDS[relation](one.cell, other.cell)));
    const yes = draws.chance(0.5);
    const words = draws.pick(WORDS[yes ? holds : OPPOSITE[holds]]);
    const question = `is the ${noun(draws, a)} ${words} the ${noun(draws, b)}${where}`;
    return { question, answer: yes ? "yes" : "no" };
  }
  return null;
};

export const position: Question = (draws, scene, where) => {
  if (scene.objects.length === 0) return null;
  const object = draws.pick(scene.objects);
  const query = refer(draws, scene, object);
  if (query === null) return null;
  const start = draws.pick([
    ...["where is", "where is", "where is"],
    "what is the position of",
    "where do you see",
  ]);
  const question = `${start} the ${noun(draws, query)}${where || inImage(draws, 0.15)}`;
  return { question, answer: PLACES[object.cell] };
};

export const identify: Question = (draws, scene, where) => {
  const taken = new Map(scene.objects.map((object) => [object.cell, object]));
  const free = PLACES.map((_, cell) => cell).filter((cell) => !taken.has(cell));
  const cell = taken.size > 0 && draws.chance(0.8) ? draws.pick(scene.objects).cell : draws.pick(free);
  const object = taken.get(cell);
  const start = draws.pick(["what is", "what is", "what's", "what do you see"]);
  const tail = where || (draws.chance(0.2) ? ` of the ${draws.pick(IMAGE_WORDS)}` : "");
  return {
    question: `${start} ${atPlace(draws, cell)}${tail}`,
    answer: object === undefined ? "nothing" : nameOf(object),
  };
};

export const describe: Question = (draws, scene, where) => {
  const answer = caption(scene);
  if (where !== "") {
    const image = where.replace(/^ in /, "");
    return {
      question: draws.pick([`describe ${image}`, `what is in ${image}`, `what does ${image} show`]),
      answer,
    };
  }
  const word = draws.pick(IMAGE_WORDS);
  const question = draws.pick([
    ...[`describe the ${word}`, `describe this ${word}`, `what is in the ${word}`, `what is in this ${word}`],
    ...["what do you see", `what does the ${word} show`, "list the objects", "describe what you see"],
    ...[`tell me what is in the ${word}`, "what can you see", "describe it", "what objects are there"],
  ]);
  return { question, answer };
};
