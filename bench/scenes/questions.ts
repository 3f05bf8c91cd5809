/** Every kind of question about one scene. */
import type { Draws } from "../draws.ts";
import { colour, count, exist, type Question, shape, size } from "./attributes.ts";
import { describe, identify, position, relation, relationYesNo } from "./places.ts";
import type { Scene } from "./scene.ts";
import { type Asked, styled } from "./wording.ts";

/** Names as in the evaluation set. */
export const KINDS = {
  exist,
  colour,
  shape,
  count,
  relation,
  relation_yn: relationYesNo,
  position,
  identify,
  size,
  caption: describe,
} as const satisfies Record<string, Question>;
export type Kind = keyof typeof KINDS;

/** Kinds with an answer of a word or a short phrase. */
export const SHORT_KINDS = (Object.keys(KINDS) as Kind[]).filter((kind) => kind !== "caption");

/** null when this scene does not allow the question. */
export function ask(draws: Draws, scene: Scene, kind: Kind): Asked | null {
  const asked = KINDS[kind](draws, scene, "");
  return asked === null ? null : { ...asked, question: styled(draws, asked.question) };
}

/** A question of any of `kinds`; every scene allows existence. */
export function askAny(draws: Draws, scene: Scene, kinds: readonly Kind[]): Asked & { readonly kind: Kind } {
  while (true) {
    const kind = draws.pick(kinds);
    const asked = ask(draws, scene, kind);
    if (asked !== null) return { ...asked, kind };
  }
}
