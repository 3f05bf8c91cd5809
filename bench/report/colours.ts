/** One colour a name, the same in every plot. Okabe and Ito's palette, which colour-blind readers can tell apart. */

const FIXED: Readonly<Record<string, string>> = {
  dynamic: "#D55E00",
  fcfs: "#999999",
  p1c1d8: "#000000",
  p2c2d8: "#56B4E9",
  p3c3d6: "#0072B2",
  p4c4d8: "#009E73",
  fastcache: "#D55E00",
};
const OTHERS = ["#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];

/** Colours of `names`, those without a fixed one in the order of their names. */
export function coloursOf(names: readonly string[]): string[] {
  const others = names.filter((name) => FIXED[name] === undefined).sort();
  const taken = new Set(names.map((name) => FIXED[name]));
  const free = OTHERS.filter((colour) => !taken.has(colour));
  return names.map((name) => FIXED[name] ?? free[others.indexOf(name) % free.length]);
}
