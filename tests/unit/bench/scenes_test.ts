import assert from "node:assert/strict";
import { Draws } from "../../../bench/draws.ts";
import { ask, askAny, type Kind, SHORT_KINDS } from "../../../bench/scenes/questions.ts";
import { render } from "../../../bench/scenes/render.ts";
import {
  COLOUR_NAMES,
  COLOURS,
  contrasts,
  makeScene,
  type Scene,
  type SceneObject,
  SHAPES,
  SIDE,
} from "../../../bench/scenes/scene.ts";
import { askSet, SET_KINDS, type SetKind } from "../../../bench/scenes/set_questions.ts";
import { editScene, makeSet } from "../../../bench/scenes/sets.ts";
import { caption } from "../../../bench/scenes/wording.ts";

function object(
  cell: number,
  colour: SceneObject["colour"],
  shape: SceneObject["shape"],
  size: SceneObject["size"],
) {
  return {
    cell,
    colour,
    shape,
    size,
    diameter: size === "big" ? 24 : 12,
    angle: 0,
    x: (cell % 3) * 32 + 16,
    y: Math.floor(cell / 3) * 32 + 16,
    rgb: COLOURS[colour],
  };
}

/** A big red circle at the top left, a small blue star in the middle, a small red star at the bottom. */
const SCENE: Scene = {
  objects: [
    object(0, "red", "circle", "big"),
    object(4, "blue", "star", "small"),
    object(7, "red", "star", "small"),
  ],
  background: { from: [255, 255, 255], to: [255, 255, 255], angle: 0, noise: 0, noiseSeed: 1 },
};

/** Many questions of a kind about SCENE, as they come, without style. */
function asked(kind: Kind): { question: string; answer: string }[] {
  const draws = new Draws(`asked ${kind}`);
  return Array.from({ length: 300 }, () => ask(draws, SCENE, kind))
    .filter((one) => one !== null)
    .map(({ question, answer }) => ({ question: question.toLowerCase().replace(/[?.]$/, ""), answer }));
}

/** Objects that have every attribute which the text names. */
function named(text: string): readonly SceneObject[] {
  const colour = COLOUR_NAMES.find((name) => text.includes(name));
  const shape = SHAPES.find((name) => text.includes(name));
  const size = /\b(big|large)\b/.test(text) ? "big" : /\bsmall\b/.test(text) ? "small" : undefined;
  return SCENE.objects.filter((one) =>
    (colour === undefined || one.colour === colour) && (shape === undefined || one.shape === shape) &&
    (size === undefined || one.size === size)
  );
}

Deno.test("the caption names every object and its place in order", () => {
  assert.equal(
    caption(SCENE),
    "a red circle at the top left, a blue star in the center, a red star at the bottom",
  );
  assert.equal(caption({ ...SCENE, objects: [] }), "nothing");
});

Deno.test("existence is answered by what is there, and both answers come", () => {
  const all = asked("exist");
  for (const { question, answer } of all) {
    assert.equal(answer, named(question).length > 0 ? "yes" : "no", question);
  }
  assert.deepEqual([...new Set(all.map(({ answer }) => answer))].sort(), ["no", "yes"]);
});

Deno.test("counts are those of the objects named", () => {
  for (const { question, answer } of asked("count")) {
    assert.equal(answer, String(named(question).length), question);
  }
});

Deno.test("colour and shape are asked of one object and never give themselves away", () => {
  for (
    const { question, answer } of asked("colour").filter(({ question }) => !/ (at|in|on) the /.test(question))
  ) {
    const [one, ...more] = named(question);
    assert.deepEqual([one.colour, more.length], [answer, 0], question);
    assert.ok(!question.includes(answer), question);
  }
  for (
    const { question, answer } of asked("shape").filter(({ question }) => !/ (at|in|on) the /.test(question))
  ) {
    // "what shape is" names no shape of an object.
    const [one, ...more] = named(question);
    assert.deepEqual([one.shape, more.length], [answer, 0], question);
  }
});

Deno.test("positions, relations and what is at a place are read from the cells", () => {
  const places = new Map([[0, "top left"], [4, "center"], [7, "bottom"]]);
  for (const { question, answer } of asked("position")) {
    const [one, ...more] = named(question);
    assert.deepEqual([places.get(one.cell), more.length], [answer, 0], question);
  }
  const relations = asked("relation");
  assert.ok(relations.length > 50);
  const known: Record<string, string> = {
    // One object is above the blue star, one below it, one left of it; two are below the circle.
    "above|blue star": "a red circle",
    "left|blue star": "a red circle",
    "below|blue star": "a red star",
  };
  for (const [key, answer] of Object.entries(known)) {
    const [relation, ref] = key.split("|");
    const words: Record<string, RegExp> = { above: /above|over/, left: /left of/, below: /below|under/ };
    const found = relations.filter(({ question }) =>
      words[relation].test(question) && question.endsWith(`the ${ref}`)
    );
    assert.ok(found.length > 0, key);
    assert.ok(found.every((one) => one.answer === answer), key);
  }
  for (const { question, answer } of asked("identify")) {
    if (/(middle|center)/.test(question)) assert.equal(answer, "a blue star", question);
    if (/top right/.test(question)) assert.equal(answer, "nothing", question);
  }
});

Deno.test("relations by yes or no and sizes compare the two that are named", () => {
  for (const { question, answer } of asked("relation_yn")) {
    const match = /^is the (.*) (left of|right of|above|over|below|under) the (.*)$/.exec(
      question.replace("to the ", "").replace("on the ", ""),
    )!;
    const [[one], [other]] = [named(match[1]), named(match[3])];
    const column = (cell: number) => cell % 3, row = (cell: number) => Math.floor(cell / 3);
    const holds = {
      "left of": column(one.cell) < column(other.cell),
      "right of": column(one.cell) > column(other.cell),
      above: row(one.cell) < row(other.cell),
      over: row(one.cell) < row(other.cell),
      below: row(one.cell) > row(other.cell),
      under: row(one.cell) > row(other.cell),
    }[match[2]];
    assert.equal(answer, holds ? "yes" : "no", question);
  }
  for (const { question, answer } of asked("size").filter(({ question }) => question.includes(" than "))) {
    const [, ref, word] = /^is the (.*) (bigger|larger|smaller) than/.exec(question)!;
    assert.equal(answer, (named(ref)[0].size === "big") === (word !== "smaller") ? "yes" : "no", question);
  }
});

Deno.test("makeScene keeps to the grid, one object a cell, colours clear of the background", () => {
  const draws = new Draws("scenes");
  const counts = new Set<number>();
  for (let i = 0; i < 300; i++) {
    const { objects, background } = makeScene(draws);
    counts.add(objects.length);
    assert.equal(new Set(objects.map(({ cell }) => cell)).size, objects.length);
    for (const { cell, x, y, colour } of objects) {
      assert.deepEqual([Math.floor(x / 32), Math.floor(y / 32)], [cell % 3, Math.floor(cell / 3)]);
      assert.ok(contrasts(COLOURS[colour], background.from) && contrasts(COLOURS[colour], background.to));
    }
  }
  assert.ok([1, 2, 3, 4, 5, 6].every((count) => counts.has(count)));
});

Deno.test("render paints objects over the background, the same bytes for the same scene", () => {
  const { width, height, rgb } = render(SCENE);
  assert.deepEqual([width, height, rgb.length], [SIDE, SIDE, SIDE * SIDE * 3]);
  const pixel = (x: number, y: number) => [...rgb.subarray((y * SIDE + x) * 3, (y * SIDE + x) * 3 + 3)];
  assert.deepEqual(pixel(16, 16), [...COLOURS.red]);
  assert.deepEqual(pixel(48, 48), [...COLOURS.blue]);
  assert.deepEqual(pixel(90, 5), [255, 255, 255]);
  const noisy = { ...SCENE, background: { ...SCENE.background, noise: 10 } };
  assert.deepEqual(render(noisy).rgb, render(noisy).rgb);
  assert.notDeepEqual(render(noisy).rgb, rgb);
});

Deno.test("every shape covers its middle and about its own area", () => {
  for (const shape of SHAPES) {
    const scene = { ...SCENE, objects: [object(4, "black", shape, "big")] };
    const { rgb } = render(scene);
    let dark = 0;
    for (let i = 0; i < rgb.length; i += 3) if (rgb[i] < 128) dark++;
    // A circle of this diameter has 452 pixels; the thinnest shape is the star.
    assert.ok(dark > 150 && dark < 480, `${shape} covers ${dark} pixels`);
    assert.ok(rgb[(48 * SIDE + 48) * 3] < 128, `${shape} has a hole`);
  }
});

Deno.test("an edit's sentence says what differs", () => {
  const draws = new Draws("edits");
  const seen = new Set<string>();
  for (let i = 0; i < 200; i++) {
    const { scene, sentence } = editScene(draws, SCENE);
    const lost = SCENE.objects.filter(({ cell }) => !scene.objects.some((one) => one.cell === cell));
    const won = scene.objects.filter(({ cell }) => !SCENE.objects.some((one) => one.cell === cell));
    const changed = scene.objects.filter((one) =>
      SCENE.objects.some((old) => old.cell === one.cell && old.colour !== one.colour)
    );
    const expected = lost.length > 0
      ? `a ${lost[0].colour} ${lost[0].shape} was removed`
      : won.length > 0
      ? `${won[0].colour === "orange" ? "an" : "a"} ${won[0].colour} ${won[0].shape} was added`
      : changed.length > 0
      ? `the ${SCENE.objects.find(({ cell }) => cell === changed[0].cell)!.colour} ${
        changed[0].shape
      } became ${changed[0].colour}`
      : "nothing changed";
    assert.equal(sentence, expected);
    seen.add(sentence.split(" ").at(-1)!);
  }
  assert.ok(seen.has("removed") && seen.has("added") && seen.has("changed"));
});

Deno.test("questions over several pictures find their answer in the right one", () => {
  const draws = new Draws("sets");
  const kinds = new Set<SetKind>();
  for (let i = 0; i < 400; i++) {
    const set = makeSet(draws, draws.integer(2, 4));
    const kind = draws.pick(Object.keys(SET_KINDS) as SetKind[]);
    const one = askSet(draws, set, kind);
    if (one === null) continue;
    kinds.add(kind);
    const counts = set.scenes.map(({ objects }) => objects.length);
    if (kind === "most") {
      const best = (one.question.includes("fewest") ? Math.min : Math.max)(...counts);
      assert.equal(one.answer, `image ${counts.indexOf(best) + 1}`);
    }
    if (kind === "which_image") {
      const index = Number(one.answer.slice("image ".length)) - 1;
      const text = one.question.toLowerCase();
      const colour = COLOUR_NAMES.find((name) => text.includes(name));
      const shape = SHAPES.find((name) => text.includes(name));
      const has = (scene: Scene) =>
        scene.objects.some((found) =>
          (colour === undefined || found.colour === colour) && (shape === undefined || found.shape === shape)
        );
      assert.deepEqual(set.scenes.map(has).map((yes, k) => yes === (k === index)), counts.map(() => true));
    }
    if (kind === "difference") assert.equal(one.answer, set.change!.sentence);
  }
  assert.deepEqual([...kinds].sort(), Object.keys(SET_KINDS).sort());
});

Deno.test("askAny asks every kind of short question", () => {
  const draws = new Draws("any");
  const kinds = new Set(Array.from({ length: 300 }, () => askAny(draws, SCENE, SHORT_KINDS).kind));
  assert.deepEqual([...kinds].sort(), [...SHORT_KINDS].sort());
});
