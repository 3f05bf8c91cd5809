/** Text to token ids, by tokenizer.json. */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { StartError } from "../core/errors.ts";
import { isRecord, JsonObject } from "../model/json.ts";
import type { TokenTexts } from "./detokenizer.ts";
import { splitByWhiteSpace } from "./pre_tokenizer.ts";
import type { AddedToken, SpecialTokens } from "./special_tokens.ts";
import { readTokenBytes, type TokenBytes } from "./token_bytes.ts";

export class Tokenizer implements TokenTexts {
  readonly bytes: TokenBytes;
  /** One more than the largest id. */
  readonly size: number;
  /** Most characters (UTF-16 units) that one token may stand for; Infinity where there is no such bound. */
  readonly charactersPerTokenMax: number;
  readonly #inner: HuggingFaceTokenizer;
  readonly #tokens: ReadonlyMap<number, string>;
  readonly #addedIds: ReadonlySet<number>;
  readonly #specialIds: ReadonlySet<number>;

  /** `json` is tokenizer.json. Throws StartError when it is broken or of a kind that is not supported. */
  constructor(json: JsonObject, special: SpecialTokens) {
    const added = withDeclared(json, special);
    this.bytes = readTokenBytes(json);
    try {
      // The second argument carries settings of tokenizer classes that tokenizer.json already contains.
      this.#inner = new HuggingFaceTokenizer({
        ...json.copy(),
        added_tokens: added,
        pre_tokenizer: splitByWhiteSpace(json.value("pre_tokenizer") ?? null),
      }, {});
    } catch (error) {
      throw new StartError(`${json.file}: ${error instanceof Error ? error.message : error}`);
    }
    const tokens = new Map<number, string>();
    for (const [token, id] of vocabulary(json)) tokens.set(id, token);
    for (const { id, content } of added) tokens.set(id, content);
    this.#tokens = tokens;
    let largest = -1;
    for (const id of tokens.keys()) largest = Math.max(largest, id);
    this.size = largest + 1;
    this.#addedIds = new Set(added.map((token) => token.id));
    this.#specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.charactersPerTokenMax = charactersPerTokenMax(json, added, tokens.values());
  }

  /** `special`: with what the post-processor adds, in practice BOS in front. */
  encode(text: string, special: boolean): number[] {
    return this.#inner.encode(text, { add_special_tokens: special }).ids;
  }

  token(id: number): string | undefined {
    return this.#tokens.get(id);
  }

  /** Added tokens are cut out of a text before anything else is done with it. */
  isAdded(id: number): boolean {
    return this.#addedIds.has(id);
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }
}

/** Tokens and ids of the model's vocabulary, which is an object for BPE and WordPiece. Throws StartError for others. */
function vocabulary(json: JsonObject): [string, number][] {
  const model = json.object("model") ?? json.fail("model", "an object");
  if (model.string("type", "BPE") !== "BPE") model.fail("type", "BPE");
  const vocab = model.value("vocab");
  if (!isRecord(vocab)) return model.fail("vocab", "an object of tokens and ids");
  return Object.entries(vocab).map(([token, id]) => [
    token,
    typeof id === "number" && Number.isSafeInteger(id) && id >= 0
      ? id
      : model.fail("vocab", "an object of tokens and ids"),
  ]);
}

/** `added_tokens`, with those that only the other files declare: by id, or by a name that the vocabulary has. */
function withDeclared(json: JsonObject, special: SpecialTokens): AddedToken[] {
  const listed = json.list("added_tokens", isAddedToken, "a list of tokens with id and content") ?? [];
  const added = new Map(listed.map((token) => [token.content, token]));
  for (const token of special.declared) if (!added.has(token.content)) added.set(token.content, token);
  const vocab = new Map(vocabulary(json));
  for (const content of [...Object.values(special.named), ...special.additional]) {
    const known = added.get(content);
    const id = known?.id ?? vocab.get(content);
    if (id === undefined) continue;
    added.set(
      content,
      known === undefined ? { id, content, normalized: false, special: true } : { ...known, special: true },
    );
  }
  return [...added.values()];
}

function isAddedToken(value: unknown): value is AddedToken {
  return isRecord(value) && Number.isSafeInteger(value.id) && typeof value.content === "string" &&
    typeof value.special === "boolean";
}

/** Canonical composition makes one UTF-16 unit of four at most (U+1F82 from alpha and three marks). */
const COMPOSED_UNITS_MAX = 4;

/** A bound only where no step can swallow text: unknown characters fused to one token, or spaces stripped. */
function charactersPerTokenMax(
  json: JsonObject,
  added: readonly AddedToken[],
  tokens: Iterable<string>,
): number {
  const model = json.inside("model");
  const swallows = (model.boolean("fuse_unk", false) && !model.boolean("byte_fallback", false)) ||
    added.some((token) => token.lstrip === true || token.rstrip === true) ||
    !normalizersKeepText(json.object("normalizer"));
  if (swallows) return Infinity;
  let longest = 1;
  for (const token of tokens) longest = Math.max(longest, token.length);
  return json.has("normalizer") ? COMPOSED_UNITS_MAX * longest : longest;
}

function normalizersKeepText(normalizer: JsonObject | null): boolean {
  if (normalizer === null) return true;
  switch (normalizer.string("type")) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "Prepend":
      return true;
    case "Replace": {
      const pattern = normalizer.inside("pattern").value("String");
      return typeof pattern === "string" && normalizer.string("content", "").length >= pattern.length;
    }
    case "Sequence":
      return (normalizer.list("normalizers", isRecord, "a list of normalizers") ?? [])
        .every((fields) => normalizersKeepText(new JsonObject(normalizer.file, fields)));
    default:
      return false;
  }
}
