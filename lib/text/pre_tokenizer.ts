/**
 * The pre-tokenizer as the tokenizer library computes it rightly. Its byte-level step (0.2.0) splits words with
 * JavaScript's `\s`, which has U+FEFF and lacks U+0085; in Hugging Face's tokenizers `\s` is Unicode's White_Space, which
 * is the other way round. Its Split step knows the difference, so the splitting moves there. Goes when the library's
 * ByteLevel agrees: the test with both characters in tests/unit/text/tokenizer_test.ts then passes without this file.
 */
import { isRecord } from "../model/json.ts";

/** GPT-2's words: contractions, letters, numbers, other signs, white space. */
const WORDS = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/** `preTokenizer` of tokenizer.json with every byte-level step that splits into words replaced by two steps. */
export function splitByWhiteSpace(preTokenizer: unknown): unknown {
  if (!isRecord(preTokenizer)) return preTokenizer;
  if (preTokenizer.type === "Sequence" && Array.isArray(preTokenizer.pretokenizers)) {
    return { ...preTokenizer, pretokenizers: preTokenizer.pretokenizers.map(splitByWhiteSpace) };
  }
  if (preTokenizer.type !== "ByteLevel" || preTokenizer.use_regex === false) return preTokenizer;
  // A space put in front belongs to the whole text and not to every word: such a step stays as it is.
  if (preTokenizer.add_prefix_space === true) return preTokenizer;
  return {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: WORDS }, behavior: "Isolated", invert: false },
      { ...preTokenizer, use_regex: false },
    ],
  };
}
