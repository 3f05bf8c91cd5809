/** Most workgroups of one dimension of a dispatch that every device allows. */
export const GRID_MAX = 65_535;

/**
 * A grid of at least `count` workgroups: y grows once x is full. A kernel's index is group.x + group.y · groups.x,
 * and it leaves when that is `count` or more.
 */
export function foldedGrid(count: number): [x: number, y: number, z: number] {
  const y = Math.ceil(count / GRID_MAX);
  return [Math.ceil(count / y), y, 1];
}
