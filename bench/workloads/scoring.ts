/** How right an answer is, by each data set's own rule. */
import { normalAnswer } from "../../lib/cli/score.ts";
import type { Score } from "../load/request.ts";

/** The default model's rule: the whole answer, apart from capitals, spaces and final punctuation. */
export function equals(answer: string): Score {
  const expected = normalAnswer(answer);
  return (said) => normalAnswer(said) === expected ? 1 : 0;
}

/** GQA as LLaVA is scored: a final full stop is dropped, lower case, then equal. */
export function gqaScore(answer: string): Score {
  const plain = (text: string) => text.trim().replace(/\.$/, "").toLowerCase();
  return (said) => plain(said) === plain(answer) ? 1 : 0;
}

const PUNCTUATION = [...';/[]"{}()=+\\_->\<@`,?!'];

/**
 * MileBench's normalisation. A mark goes without trace where a space is beside it (or a number has a comma of thousands),
 * and becomes a space elsewhere; full stops go unless a digit follows; then outer quotes, outer spaces and capitals.
 */
export function plainText(text: string): string {
  const line = text.replace(/[\n\t]/g, " ").trim();
  const thousands = /\d,\d/.test(line);
  let out = line;
  for (const mark of PUNCTUATION) {
    const loose = thousands || line.includes(`${mark} `) || line.includes(` ${mark}`);
    out = out.replaceAll(mark, loose ? "" : " ");
  }
  return out.replace(/\.(?!\d)/g, "").replace(/^'+|'+$/g, "").replace(/^"+|"+$/g, "").trim().toLowerCase();
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

/** Length of the longest common subsequence. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  let row = new Uint32Array(b.length + 1);
  for (const word of a) {
    const next = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j++) {
      next[j + 1] = word === b[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]);
    }
    row = next;
  }
  return row[b.length];
}

/** ROUGE-L (Lin 2004) as its balanced F over words. */
export function rougeL(said: readonly string[], expected: readonly string[]): number {
  const common = commonLength(said, expected);
  return common === 0 ? 0 : 2 * common / (said.length + expected.length);
}

export function rougeScore(answer: string): Score {
  const expected = wordsOf(plainText(answer));
  return (said) => rougeL(wordsOf(plainText(said)), expected);
}

/** The needle is one of the words said. */
export function needleScore(answer: string): Score {
  const needle = plainText(answer);
  return (said) => wordsOf(plainText(said)).includes(needle) ? 1 : 0;
}

export function substringScore(answer: string): Score {
  const expected = plainText(answer);
  return (said) => plainText(said).includes(expected) ? 1 : 0;
}

const letter = (index: number): string => String.fromCharCode(65 + index);

/** The one of several texts that stands earliest in `text`, the first of the list where two begin together; −1 for none. */
function earliest(text: string, options: readonly string[]): number {
  let best = -1, at = Infinity;
  options.forEach((option, index) => {
    const found = text.indexOf(option);
    if (found >= 0 && found < at) [best, at] = [index, found];
  });
  return best;
}

/**
 * Which choice was meant, as its letter: "a text" somewhere, else a choice's text without spaces, else a bare letter, else
 * every letter of a choice that occurs (which is right only when it is one). Nothing said is "C".
 */
export function chosenLetters(said: string, choices: readonly string[]): string {
  if (said === "") return "C";
  const lettered = choices.map((choice, index) => plainText(`${letter(index)} ${choice}`));
  const byLetterAndText = earliest(said, lettered);
  if (byLetterAndText >= 0) return letter(byLetterAndText);
  const closed = (text: string) => text.replaceAll(" ", "");
  const byText = earliest(closed(said), choices.map(closed));
  if (byText >= 0) return letter(byText);
  return [...said.toUpperCase()].filter((character) => {
    const index = character.charCodeAt(0) - 65;
    return index >= 0 && index < choices.length;
  }).join("");
}

export function choiceScore(answer: string, choices: readonly string[]): Score {
  const plain = choices.map(plainText);
  const right = letter(plain.indexOf(plainText(answer)));
  return (said) => chosenLetters(plainText(said), plain) === right ? 1 : 0;
}

/** A caption of the default model: the share of its parts, between commas, that are said at their place. */
export function captionScore(caption: string): Score {
  const partsOf = (text: string) => normalAnswer(text).split(",").map((part) => part.trim());
  const expected = partsOf(caption);
  return (said) => {
    const parts = partsOf(said);
    const right = expected.filter((part, index) => parts[index] === part).length;
    return right / Math.max(expected.length, parts.length);
  };
}
