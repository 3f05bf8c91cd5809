/** What a request asks of this server, counted before anything is reserved; what can never be served is refused here. */
import { RequestError } from "../lib/core/errors.ts";
import { IMAGES_PER_REQUEST_MAX } from "../lib/core/limits.ts";
import type { ImageSpan, SlotSpan } from "../lib/engine/compress/method.ts";
import type { EngineFacts } from "../lib/engine/engine.ts";
import type { ImagePreparer } from "../lib/image/image.ts";
import type { TemplateMessage, TextProcessor } from "../lib/text/text.ts";
import { chainOf, type PoolShape, type PrefixChain } from "../pool/mod.ts";
import { keepPages, keptOf } from "./compression.ts";
import type { ChatMessage, Compression, GenerateRequest, Prompt } from "./messages.ts";
import { packingOf, type PackRule, packRule } from "./packing.ts";
import { pictureHash, type PictureStore } from "./pictures.ts";
import { messageSpans } from "./protect.ts";
import { completionTokensMax } from "./room.ts";

/** The model and the server's choices, as far as admission needs them. */
export interface ModelFacts {
  /** Longest prompt and completion together. */
  readonly maxModelLen: number;
  readonly eosTokenIds: readonly number[];
  /** Placeholder of a picture's features in a prompt; null for a text-only model. */
  readonly imageTokenId: number | null;
  /** Features, and so prompt tokens, of one picture; 0 for a text-only model. */
  readonly imageTokens: number;
}

export interface RequestDefaults {
  /** Completion limit of requests that name none; null: as many as fit. */
  readonly maxTokens: number | null;
  /** Compression of requests that name none. */
  readonly compression: Compression | null;
}

/** One picture of a prompt. */
export interface AdmittedImage {
  readonly bytes: Uint8Array;
  readonly param: string;
  readonly hash: string;
  /** Features it yields. */
  readonly rows: number;
  /** Index of its first placeholder in the prompt. */
  readonly firstToken: number;
}

export interface AdmittedPrompt {
  /** Placeholders expanded: one id a feature. */
  readonly ids: readonly number[];
  /** RoPE positions of the prompt, three a token, and the position that follows it. */
  readonly positions: Uint32Array;
  readonly positionsEnd: number;
  readonly images: readonly AdmittedImage[];
  readonly maxTokens: number;
  readonly compression: Compression | null;
  /** Pages in which prefill keeps what compression needs; they go back with the raw cache. */
  readonly keepPages: number;
  /** How what compression keeps is packed; null where it is not. */
  readonly packRule: PackRule | null;
  /** Tokens that compression leaves alone. */
  readonly protect: readonly SlotSpan[];
  /** What of it may be shared with other prompts that begin alike. */
  readonly chain: PrefixChain;
}

export interface AdmissionParts {
  readonly text: TextProcessor;
  readonly images: ImagePreparer;
  readonly pictures: PictureStore;
  readonly pool: PoolShape;
  readonly facts: Pick<EngineFacts, "shape" | "layers" | "pageBytes" | "kvDtype">;
  readonly model: ModelFacts;
  readonly defaults: RequestDefaults;
}

interface SourceImage {
  readonly bytes: Uint8Array;
  readonly param: string;
}

/** Throws RequestError. Reads headers of pictures only; nothing is decoded and nothing is taken. */
export function admit(request: GenerateRequest, parts: AdmissionParts): AdmittedPrompt {
  const { prompt } = request;
  const sources = prompt.kind === "chat" ? picturesOf(prompt.messages) : [];
  inspectPictures(sources, prompt, parts);
  const ids = tokensOf(prompt, sources.length, parts);
  const images = placeImages(ids, sources, prompt, parts.model);
  const compression = request.compression === undefined ? parts.defaults.compression : request.compression;
  const protect = protectedSpans(compression, prompt, ids, parts);
  const kept = compression === null || compression.underPressure
    ? null
    : keptOf(compression, ids.length, parts.pool.layers, spansOf(images), protect);
  const keep = compression === null || kept === null ? 0 : keepPages(compression, ids.length, parts.facts);
  const rule = compression === null ? null : packRule(compression, parts.facts);
  const maxTokens = maxTokensOf(request, ids.length, kept, keep, rule, parts);
  if (!parts.pictures.fits(images)) {
    throw new RequestError(
      "context_length_exceeded",
      `The ${images.length} pictures have more features than this server holds at one time.`,
      prompt.param,
    );
  }
  return {
    ids,
    ...textPositions(ids.length),
    images,
    maxTokens,
    compression,
    keepPages: keep,
    packRule: rule,
    protect,
    chain: chainOf(ids, parts.pool.pageSlots, images, `${request.tenant}\0${request.cacheSalt}`),
  };
}

function spansOf(images: readonly AdmittedImage[]): ImageSpan[] {
  return images.map(({ firstToken, rows }) => ({ first: firstToken, count: rows }));
}

function picturesOf(messages: readonly ChatMessage[]): SourceImage[] {
  return messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.filter((part) => part.type === "image")
  );
}

function inspectPictures(
  sources: readonly SourceImage[],
  prompt: Prompt,
  { model, images }: AdmissionParts,
): void {
  if (sources.length > 0 && model.imageTokens === 0) {
    throw new RequestError("unsupported_value", "This model takes no pictures.", sources[0].param);
  }
  if (sources.length > IMAGES_PER_REQUEST_MAX) {
    throw new RequestError(
      "invalid_value",
      `A request has at most ${IMAGES_PER_REQUEST_MAX} pictures, this one has ${sources.length}.`,
      prompt.param,
    );
  }
  for (const { bytes, param } of sources) images.inspect(bytes, param);
}

function tokensOf(prompt: Prompt, pictures: number, { text, model }: AdmissionParts): readonly number[] {
  const ids = naming(prompt.param, () => encodePrompt(prompt, pictures, text, model));
  if (ids.length === 0) throw new RequestError("invalid_value", "The prompt has no tokens.", prompt.param);
  return ids;
}

/** Runs `act`; a RequestError that names no field gets this one. */
function naming<T>(param: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof RequestError) || error.param !== null) throw error;
    throw new RequestError(error.code, error.message, param, error.retryAfterSeconds);
  }
}

function encodePrompt(
  prompt: Prompt,
  pictures: number,
  text: TextProcessor,
  model: ModelFacts,
): readonly number[] {
  switch (prompt.kind) {
    case "tokens":
      return prompt.tokens;
    case "text":
      requirePlaceholders(text.countImages(prompt.text), 0, prompt);
      return text.encode(prompt.text, "plain", [], model.maxModelLen);
    case "chat": {
      const rendered = text.render(prompt.messages.map(templateMessage));
      requirePlaceholders(text.countImages(rendered), pictures, prompt);
      return text.encode(
        rendered,
        "chat",
        new Array<number>(pictures).fill(model.imageTokens),
        model.maxModelLen,
      );
    }
  }
}

function protectedSpans(
  compression: Compression | null,
  prompt: Prompt,
  ids: readonly number[],
  { text, model }: AdmissionParts,
): readonly SlotSpan[] {
  if (compression === null || compression.protect.length === 0) return [];
  if (prompt.kind !== "chat") {
    throw new RequestError(
      "invalid_value",
      "Only messages can be protected; this prompt has none.",
      "kv_compression.protect",
    );
  }
  return messageSpans(prompt.messages.map(templateMessage), compression.protect, ids, (messages) => {
    const rendered = text.render(messages);
    const pictures = new Array<number>(text.countImages(rendered)).fill(model.imageTokens);
    return text.encode(rendered, "chat", pictures, model.maxModelLen + 1);
  });
}

function templateMessage({ role, content }: ChatMessage): TemplateMessage {
  if (typeof content === "string") return { role, content };
  return {
    role,
    content: content.map((part) =>
      part.type === "text" ? { type: "text", text: part.text } : { type: "image" }
    ),
  };
}

/** A placeholder that no picture stands for comes from the user's own text. */
function requirePlaceholders(found: number, pictures: number, prompt: Prompt): void {
  if (found === pictures) return;
  throw new RequestError(
    "invalid_value",
    `Placeholders of pictures in the prompt: ${found}, pictures: ${pictures}. Text must not contain the placeholder itself.`,
    prompt.param,
  );
}

/** Finds the placeholders of each picture among the tokens. */
function placeImages(
  ids: readonly number[],
  sources: readonly SourceImage[],
  prompt: Prompt,
  { imageTokenId, imageTokens }: ModelFacts,
): AdmittedImage[] {
  if (imageTokenId === null) return [];
  const places: number[] = [];
  for (const [index, id] of ids.entries()) if (id === imageTokenId) places.push(index);
  if (places.length !== sources.length * imageTokens) {
    throw new RequestError(
      "invalid_value",
      `The prompt has ${places.length} picture tokens where its pictures have ${
        sources.length * imageTokens
      }.`,
      prompt.param,
    );
  }
  return sources.map(({ bytes, param }, index) => ({
    bytes,
    param,
    hash: pictureHash(bytes),
    rows: imageTokens,
    firstToken: places[index * imageTokens],
  }));
}

/** Text, and pictures whose features count like text, stand one after the other in all three dimensions. */
function textPositions(count: number): { positions: Uint32Array; positionsEnd: number } {
  const positions = new Uint32Array(3 * count);
  for (let i = 0; i < positions.length; i++) positions[i] = Math.floor(i / 3);
  return { positions, positionsEnd: count };
}

/** The completion's limit, inside the context, the pool and what was asked. */
function maxTokensOf(
  request: GenerateRequest,
  promptTokens: number,
  kept: Uint32Array | null,
  keep: number,
  rule: PackRule | null,
  { model, pool, defaults }: AdmissionParts,
): number {
  const { maxModelLen } = model;
  const contextMax = maxModelLen - promptTokens;
  const poolMax = completionTokensMax(
    pool,
    promptTokens,
    kept,
    keep,
    kept === null ? null : packingOf(rule, kept),
  );
  const asked = request.maxTokens;
  if (contextMax < 1) {
    throw new RequestError(
      "context_length_exceeded",
      `The longest context is ${maxModelLen} tokens, prompt and completion together; the prompt has ${promptTokens}.`,
      request.prompt.param,
    );
  }
  if (poolMax < 1) {
    throw new RequestError(
      "context_length_exceeded",
      `The prompt has ${promptTokens} tokens${
        kept === null ? "" : ` and its compressed copy ${Math.max(...kept)}`
      }, more than this server's memory can hold at one time.`,
      request.prompt.param,
    );
  }
  if (asked === null) return Math.min(defaults.maxTokens ?? contextMax, contextMax, poolMax);
  if (asked > contextMax) {
    throw new RequestError(
      "context_length_exceeded",
      `The longest context is ${maxModelLen} tokens, prompt and completion together; the prompt has ` +
        `${promptTokens} and ${asked} more were asked for.`,
      request.maxTokensParam,
    );
  }
  if (asked > poolMax) {
    throw new RequestError(
      "context_length_exceeded",
      `This server's memory holds ${poolMax} tokens after this prompt of ${promptTokens}; ${asked} were asked for.`,
      request.maxTokensParam,
    );
  }
  return asked;
}
