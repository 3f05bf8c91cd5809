/** Asks the model every question over its whole cache, and keeps what a compressor is trained with. */
import { assert } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import type { ImageSpan } from "../engine/compress/method.ts";
import type { ForwardSequence, SamplingParams } from "../engine/engine.ts";
import type { Intermediates, LocalEngine } from "../engine/local.ts";
import type { ImagePreparer } from "../image/image.ts";
import type { ModelConfig } from "../model/config.ts";
import { FEATURE_ROW } from "../ops/backend.ts";
import type { TextProcessor } from "../text/text.ts";
import type { Question } from "./corpus.ts";
import type { Lesson, Sample } from "./lesson.ts";
import type { Span } from "./span.ts";

const GREEDY: SamplingParams = { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [0, 0], logprobs: null };

/** Longest answer that is learned from. */
const ANSWER_TOKENS_MAX = 64;

export interface TeacherParts {
  readonly engine: LocalEngine;
  readonly config: ModelConfig;
  readonly text: TextProcessor;
  readonly images: ImagePreparer;
}

/** What the pool holds at this moment: everything up to the last picture, from slot 0 on. */
interface Prefix {
  readonly key: string;
  /** null for prompts without pictures. */
  readonly span: Span | null;
}

export class Teacher {
  #encoded: readonly string[] = [];
  #prefix: Prefix | null = null;

  constructor(private readonly parts: TeacherParts) {}

  /** Questions about the same pictures. Those that the model ends at once, or that are too long, teach nothing. */
  async lessons(questions: readonly Question[]): Promise<Lesson[]> {
    await this.#encode(questions[0].images);
    const lessons = new Map<Prefix, Sample[]>();
    for (const question of questions) {
      const asked = await this.#ask(question);
      if (asked === null) continue;
      const samples = lessons.get(asked.prefix);
      if (samples === undefined) lessons.set(asked.prefix, [asked.sample]);
      else samples.push(asked.sample);
    }
    return [...lessons].map(([{ span }, samples]) => ({ prefix: span, samples }));
  }

  async #encode(paths: readonly string[]): Promise<void> {
    if (paths.length === this.#encoded.length && paths.every((path, i) => path === this.#encoded[i])) return;
    const { engine, config, images } = this.parts;
    const rows = config.vision?.imageTokens ?? 0;
    if (paths.length * rows > engine.facts.embeddingRows) {
      throw new StartError(`${paths.length} pictures of one question are too many for this model`);
    }
    const prepared = await Promise.all(paths.map(async (path) => {
      const bytes = await Deno.readFile(path).catch((error) => {
        throw new StartError(`cannot read ${path}: ${error.message}`);
      });
      return await images.prepare(bytes, path);
    }));
    await engine.encode(
      prepared.map((image, i) => ({ ...image, embeddingRow: i * rows, embeddingRows: rows })),
    );
    this.#encoded = paths;
    this.#prefix = null;
  }

  async #ask(question: Question): Promise<{ prefix: Prefix; sample: Sample } | null> {
    const { engine, config, text } = this.parts;
    const rows = config.vision?.imageTokens ?? 0;
    const content = [
      ...question.images.map(() => ({ type: "image" as const })),
      { type: "text" as const, text: question.text },
    ];
    const rendered = text.render([{ role: "user", content }]);
    const ids = text.encode(rendered, "chat", question.images.map(() => rows));
    if (ids.length + ANSWER_TOKENS_MAX > Math.min(config.text.maxPositions, engine.facts.stepTokensMax)) {
      return null;
    }
    const images = imageSpans(ids, config.imageTokenId, rows);
    const tokens = placeFeatures(ids, images);
    const cut = images.length === 0 ? 0 : images[images.length - 1].first + rows;
    const prefix = await this.#store(tokens.subarray(0, cut), images, ids.slice(0, cut).join(" "));
    const answer = await this.#answer(tokens, cut);
    if (answer.length === 0) return null;
    const all = Uint32Array.from([...tokens.subarray(cut), ...answer]);
    const seen = await engine.observe(null, this.#part(all, cut, cut + all.length, null));
    const asked = ids.length - cut;
    return {
      prefix,
      sample: {
        tail: this.#span(seen, all.length, asked, []),
        position: ids.length,
        tokens: answer,
        hidden: this.#hidden(seen, asked),
      },
    };
  }

  /** What is stored up to the last picture. Questions that begin alike find it there. */
  async #store(tokens: Uint32Array, images: readonly ImageSpan[], key: string): Promise<Prefix> {
    if (this.#prefix?.key === key) return this.#prefix;
    let span: Span | null = null;
    if (tokens.length > 0) {
      const seen = await this.parts.engine.observe(null, this.#part(tokens, 0, tokens.length, null));
      span = this.#span(seen, tokens.length, tokens.length, images);
    }
    this.#prefix = { key, span };
    return this.#prefix;
  }

  /** The greedy answer, as the tokens that are stored before its end is predicted. */
  async #answer(prompt: Uint32Array, cut: number): Promise<Uint32Array> {
    const { engine, config } = this.parts;
    const answer: number[] = [];
    let part = this.#part(prompt.subarray(cut), cut, prompt.length, GREEDY);
    while (answer.length < ANSWER_TOKENS_MAX) {
      const [token] = await engine.forward([part]);
      assert(token !== null && token !== "not_finite", "the model answers with numbers");
      if (config.eosTokenIds.includes(token.id)) break;
      answer.push(token.id);
      const at = prompt.length + answer.length - 1;
      part = this.#part(Uint32Array.of(token.id), at, at + 1, GREEDY);
    }
    return Uint32Array.from(answer);
  }

  /** Tokens of the one sequence there is, which owns every page: layer after layer. */
  #part(tokens: Uint32Array, first: number, end: number, sampling: SamplingParams | null): ForwardSequence {
    const { layers, pageSlots, pageCount } = this.parts.engine.facts;
    const pages = Math.floor(pageCount / layers);
    assert(end <= pages * pageSlots, "the pool holds the longest sequence");
    return {
      tokens,
      positions: Uint32Array.from({ length: 3 * tokens.length }, (_, i) => first + Math.floor(i / 3)),
      slotBase: new Uint32Array(layers).fill(first),
      pageTables: Array.from(
        { length: layers },
        (_, layer) => Uint32Array.from({ length: Math.ceil(end / pageSlots) }, (_, i) => layer * pages + i),
      ),
      sampling,
      sampled: 0,
    };
  }

  /** Keys and values of the first `slots` of `tokens` rows, after rotation: query heads, key heads, value heads. */
  #span(seen: Intermediates, tokens: number, slots: number, images: readonly ImageSpan[]): Span {
    const { layers, heads, kvHeads, headDim } = this.parts.config.text;
    const part = (offset: number) =>
      Array.from({ length: layers }, (_, layer) => {
        const qkv = seen.get(`text.layer.${layer}.qkv`)!, row = qkv.length / tokens;
        const out = new Float32Array(slots * kvHeads * headDim);
        for (let head = 0; head < kvHeads; head++) {
          for (let slot = 0; slot < slots; slot++) {
            const at = slot * row + (offset + head) * headDim;
            out.set(qkv.subarray(at, at + headDim), (head * slots + slot) * headDim);
          }
        }
        return out;
      });
    return { slots, keys: part(heads), values: part(heads + kvHeads), images };
  }

  /** Rows of the answer: those behind the first `asked`. */
  #hidden(seen: Intermediates, asked: number): Float32Array[] {
    const { layers, hidden } = this.parts.config.text;
    return Array.from(
      { length: layers },
      (_, layer) => seen.get(`text.layer.${layer}.output`)!.slice(asked * hidden),
    );
  }
}

function imageSpans(ids: readonly number[], imageTokenId: number | null, rows: number): ImageSpan[] {
  const places = [...ids.entries()].filter(([, id]) => id === imageTokenId).map(([at]) => at);
  return places.filter((_, i) => i % rows === 0).map((first) => ({ first, count: rows }));
}

function placeFeatures(ids: readonly number[], images: readonly ImageSpan[]): Uint32Array {
  const tokens = Uint32Array.from(ids);
  for (const [index, { first, count }] of images.entries()) {
    for (let i = 0; i < count; i++) tokens[first + i] = FEATURE_ROW + index * count + i;
  }
  return tokens;
}
