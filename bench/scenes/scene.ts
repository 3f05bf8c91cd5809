/**
 * Scenes of the default model: zero to six flat shapes, each in a cell of a 3 × 3 grid, on a noisy background. The same
 * kinds of scenes as deploy/model/scenes.py makes, from this folder's own stream of random numbers.
 */
import type { Draws } from "../draws.ts";

export const SIDE = 96;
const GRID = 3;
const CELL = SIDE / GRID;

export const SHAPES = ["circle", "square", "triangle", "star", "diamond", "cross"] as const;
export type Shape = typeof SHAPES[number];
export type Rgb = readonly [number, number, number];
export const COLOURS = {
  red: [218, 38, 38],
  orange: [245, 138, 24],
  yellow: [244, 220, 44],
  green: [48, 166, 68],
  blue: [44, 88, 218],
  purple: [130, 52, 176],
  pink: [250, 138, 190],
  black: [24, 24, 26],
} as const satisfies Record<string, Rgb>;
export type Colour = keyof typeof COLOURS;
export const COLOUR_NAMES = Object.keys(COLOURS) as Colour[];
export const SIZES = ["small", "big"] as const;
export type Size = typeof SIZES[number];
/** Names of the cells, row by row. */
export const PLACES = [
  ...["top left", "top", "top right"],
  ...["left", "center", "right"],
  ...["bottom left", "bottom", "bottom right"],
] as const;
const CELLS = PLACES.map((_, cell) => cell);

export interface SceneObject {
  colour: Colour;
  readonly shape: Shape;
  readonly size: Size;
  /** Index into PLACES. */
  readonly cell: number;
  /** Pixels. */
  readonly diameter: number;
  /** Degrees. */
  readonly angle: number;
  /** Centre, pixels. */
  readonly x: number;
  readonly y: number;
  rgb: Rgb;
}

export interface Background {
  readonly from: Rgb;
  readonly to: Rgb;
  /** Direction of the gradient, radians. */
  readonly angle: number;
  /** Standard deviation of the noise, in steps of 255. */
  readonly noise: number;
  readonly noiseSeed: number;
}

export interface Scene {
  /** In the order of their cells. */
  readonly objects: SceneObject[];
  readonly background: Background;
}

export const rowOf = (cell: number): number => Math.floor(cell / GRID);
export const columnOf = (cell: number): number => cell % GRID;

const bounded = (value: number): number => Math.max(0, Math.min(255, value));

/** Colours nearer to each other than this (Euclidean, 0 to 255 an axis) would not be told apart. */
const CONTRAST_MIN = 78;

export function contrasts(a: Rgb, b: Rgb): boolean {
  return a.reduce((sum, value, axis) => sum + (value - b[axis]) ** 2, 0) >= CONTRAST_MIN ** 2;
}

/** A colour's own red, green and blue, a little off. */
export function shade(draws: Draws, colour: Colour): Rgb {
  const [r, g, b] = COLOURS[colour].map((value) => bounded(value + draws.integer(-16, 16)));
  return [r, g, b];
}

function tint(draws: Draws, least: number, most: number, spread: number): Rgb {
  const base = draws.integer(least, most);
  const channel = () => bounded(base + draws.integer(-spread, spread));
  return [channel(), channel(), channel()];
}

const WHITE: Rgb = [255, 255, 255];

/** A background whose colours stay clear of every object's. */
function makeBackground(draws: Draws, colours: ReadonlySet<Colour>): Background {
  let from = WHITE, to = WHITE;
  for (let attempt = 0; attempt < 40; attempt++) {
    const kind = draws.float();
    from = kind < 0.2
      ? WHITE
      : kind < 0.5
      ? tint(draws, 215, 245, 12)
      : kind < 0.8
      ? tint(draws, 120, 205, 18)
      : tint(draws, 45, 95, 12);
    const step = draws.chance(0.4) ? draws.integer(-38, 38) : 0;
    to = [bounded(from[0] + step), bounded(from[1] + step), bounded(from[2] + step)];
    const clear = [...colours].every((name) =>
      contrasts(from, COLOURS[name]) && contrasts(to, COLOURS[name])
    );
    if (clear) break;
    from = to = WHITE;
  }
  return {
    from,
    to,
    angle: 2 * Math.PI * draws.float(),
    noise: draws.pick([0, 0, 2, 4, 7, 10]),
    noiseSeed: draws.integer(0, 0xffff_ffff),
  };
}

/** An object with its geometry in pixels, jittered inside its cell. */
export function place(
  draws: Draws,
  object: Pick<SceneObject, "colour" | "shape" | "size" | "cell">,
): SceneObject {
  const big = object.size === "big";
  const jitter = big ? 3 : 7;
  const centre = (index: number) => index * CELL + CELL / 2 + draws.integer(-jitter, jitter);
  return {
    ...object,
    diameter: big ? draws.integer(22, 26) : draws.integer(11, 14),
    angle: draws.pick([-8, -4, 0, 0, 0, 4, 8]),
    x: centre(columnOf(object.cell)),
    y: centre(rowOf(object.cell)),
    rgb: shade(draws, object.colour),
  };
}

/** One to six objects (one scene in a hundred has none), or `count` of them. */
export function makeScene(draws: Draws, count?: number): Scene {
  const n = count ?? (draws.chance(0.01) ? 0 : draws.pick([1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]));
  const colours = draws.sample(COLOUR_NAMES, draws.pick([1, 2, 2, 3, 3, 4, 5, 6]));
  const shapes = draws.sample(SHAPES, draws.pick([1, 2, 2, 3, 3, 4, 5]));
  const objects = draws.sample(CELLS, n).sort((a, b) => a - b).map((cell) =>
    place(draws, { colour: draws.pick(colours), shape: draws.pick(shapes), size: draws.pick(SIZES), cell })
  );
  return { objects, background: makeBackground(draws, new Set(objects.map(({ colour }) => colour))) };
}
