/**
 * Slips in the names of a body's fields. Fields that nobody here knows are ignored, as OpenAI-compatible servers do; but
 * one whose name is nearly that of a known field was meant to be it, and would change the answer.
 */
import { RequestError } from "../core/errors.ts";
import { FIELD_NAMES_COMPARED_MAX } from "../core/limits.ts";
import type { JsonObject } from "./body.ts";
import { chatFields, completionFields } from "./schema.ts";
import { UNSUPPORTED_FIELDS } from "./unsupported.ts";

/** On either endpoint. */
const KNOWN = new Set([
  ...Object.keys(chatFields.shape),
  ...Object.keys(completionFields.shape),
  ...UNSUPPORTED_FIELDS,
]);
/** Fields of other servers that are near to ours and mean something else. */
const ELSEWHERE = new Set([
  ...["return_tokens", "message_id", "split_special_tokens", "generation_prompt", "mirostat_lr", "document"],
]);

/** Without what separates words and without capitals: `max-tokens` and `maxTokens` are `max_tokens`. */
function lettersOf(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}

const TARGETS = [...KNOWN].map((name) => ({ name, letters: lettersOf(name) }));
const LETTERS_MAX = Math.max(...TARGETS.map(({ letters }) => letters.length));

/** Letters of so long a name that may be wrong; short names are too near to each other. */
function slipsMax({ length }: string): number {
  return length < 6 ? 0 : Math.floor(length / 4);
}

/** Letters to insert, remove, replace or swap with their neighbour until `a` is `b`. */
function editDistance(a: string, b: string): number {
  let before = new Uint32Array(0);
  let last = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = new Uint32Array(b.length + 1).fill(i, 0, 1);
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(replaced, last[j] + 1, row[j - 1] + 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length];
}

/** The known field that is nearest to the name of none, if any is near. */
function nearest(name: string): string | null {
  const letters = lettersOf(name);
  if (letters.length > LETTERS_MAX + slipsMax(letters)) return null;
  let best: string | null = null, least = Infinity;
  for (const target of TARGETS) {
    const most = slipsMax(target.letters);
    if (Math.abs(letters.length - target.letters.length) > most) continue;
    const distance = editDistance(letters, target.letters);
    if (distance <= most && distance < least) [best, least] = [target.name, distance];
  }
  return best;
}

/** Throws RequestError unsupported_parameter for the first slip, with the field that was meant. */
export function refuseNearMisses(body: JsonObject): void {
  let compared = 0;
  for (const [name, value] of Object.entries(body)) {
    if (value === null || KNOWN.has(name) || ELSEWHERE.has(name)) continue;
    if (++compared > FIELD_NAMES_COMPARED_MAX) return;
    const meant = nearest(name);
    if (meant === null) continue;
    throw new RequestError(
      "unsupported_parameter",
      `Unknown parameter: '${name}'. Did you mean '${meant}'?`,
      name,
    );
  }
}
