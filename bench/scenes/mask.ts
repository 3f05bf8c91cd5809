/** Anti-aliased coverage of one shape: the share of 8 × 8 points of a pixel that lie inside. */
import type { Shape } from "./scene.ts";

/** Points a pixel and axis. */
const POINTS = 8;

export interface Mask {
  /** Pixels a side. */
  readonly side: number;
  /** 0 to 1, row by row. */
  readonly coverage: Float32Array;
}

type Corner = readonly [x: number, y: number];

const masks = new Map<string, Mask>();

/** `diameter` in pixels, `angle` in degrees. */
export function shapeMask(shape: Shape, diameter: number, angle: number): Mask {
  const key = `${shape} ${diameter} ${angle}`;
  let mask = masks.get(key);
  if (mask === undefined) masks.set(key, mask = drawMask(shape, diameter, angle));
  return mask;
}

function drawMask(shape: Shape, diameter: number, angle: number): Mask {
  const side = diameter + 4;
  const coverage = new Float32Array(side * side);
  const inside = shape === "circle"
    ? (x: number, y: number) => x * x + y * y <= 0.94 ** 2
    : within(cornersOf(shape, angle * Math.PI / 180));
  // In units of the radius, the shape's centre at the origin.
  const unit = (place: number) => ((place + 0.5) / POINTS - side / 2) / (diameter / 2);
  for (let y = 0; y < side * POINTS; y++) {
    for (let x = 0; x < side * POINTS; x++) {
      if (!inside(unit(x), unit(y))) continue;
      coverage[Math.floor(y / POINTS) * side + Math.floor(x / POINTS)] += 1 / POINTS ** 2;
    }
  }
  return { side, coverage };
}

/** Corners at `radii` from the centre, the first one at `start` radians. */
function ring(radii: readonly number[], start: number): Corner[] {
  return radii.map((radius, i) => {
    const at = start + 2 * Math.PI * i / radii.length;
    return [radius * Math.cos(at), radius * Math.sin(at)];
  });
}

function cornersOf(shape: Exclude<Shape, "circle">, turn: number): Corner[] {
  switch (shape) {
    case "square":
      return ring([1.2, 1.2, 1.2, 1.2], Math.PI / 4 + turn);
    case "diamond":
      return ring([0.8, 1.14, 0.8, 1.14], turn);
    case "triangle":
      return ring([1.14, 1.14, 1.14], turn - Math.PI / 2).map(([x, y]) => [x, y + 0.16]);
    case "star":
      return ring(Array.from({ length: 10 }, (_, i) => i % 2 === 0 ? 1.14 : 0.46), turn - Math.PI / 2);
    case "cross": {
      const w = 0.34;
      const arm: Corner[] = [[-w, -w], [-w, -1], [w, -1]];
      return [0, 1, 2, 3].flatMap((quarter) => {
        const [c, s] = [Math.cos(turn + quarter * Math.PI / 2), Math.sin(turn + quarter * Math.PI / 2)];
        return arm.map(([x, y]): Corner => [c * x - s * y, s * x + c * y]);
      });
    }
  }
}

/** Even-odd rule. */
function within(corners: readonly Corner[]): (x: number, y: number) => boolean {
  return (x, y) => {
    let inside = false;
    for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
      const [xi, yi] = corners[i], [xj, yj] = corners[j];
      if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) inside = !inside;
    }
    return inside;
  };
}
