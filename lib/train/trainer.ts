/** One factor's training: gradient descent on the distance between answers over short caches and the teacher's. */
import { nextFloat, type Random, seededRandom } from "../core/random.ts";
import type { LearnedFacts } from "../engine/compress/segments.ts";
import { Adam } from "./adam.ts";
import { TrainedCompressor } from "./compressor.ts";
import type { FrozenDecoder } from "./decoder.ts";
import type { Lesson, Sample } from "./lesson.ts";
import { distance, divergence } from "./loss.ts";
import type { Span } from "./span.ts";

export interface Recipe {
  readonly steps: number;
  readonly seed: number;
  /** Largest rate of Adam, after the warm-up; it falls along a cosine to a hundredth. */
  readonly rate: number;
  /** Lessons of a step, and questions of each. */
  readonly lessons: number;
  readonly questions: number;
  /** Weight of the hidden states beside the output distribution. */
  readonly hiddenWeight: number;
  /** Lift of the start, in mean sizes of what is compressed. */
  readonly lift: number;
}

export const RECIPE: Omit<Recipe, "steps" | "seed"> = {
  rate: 4e-3,
  lessons: 16,
  questions: 3,
  hiddenWeight: 1,
  lift: 2,
};

const WARM_UP_STEPS = 30;
const GRADIENT_NORM_MAX = 1;
/**
 * How likely a question is drawn, by the tokens of its answer. The first token does not depend on the cache, so an answer of
 * one only shows its end; the more there are, the more of the pictures they speak of.
 */
const ANSWER_WEIGHT = (tokens: number) => tokens === 1 ? 0.2 : Math.min(4, tokens / 2);
/** Long answers count for more, but not for all of their tokens: rows weigh sqrt(3 / length) beyond three tokens. */
const FULL_WEIGHT_TOKENS = 3;

/** What one step, or a measurement, found. */
export interface Progress {
  readonly divergence: number;
  readonly distance: number;
  /** Share of rows whose best token is the teacher's. */
  readonly agreement: number;
}

export class Trainer {
  readonly compressor: TrainedCompressor;
  readonly adam: Adam;

  constructor(
    private readonly decoder: FrozenDecoder,
    facts: LearnedFacts,
    private readonly recipe: Recipe,
    private readonly lessons: readonly Lesson[],
  ) {
    this.compressor = new TrainedCompressor(decoder.config, facts);
    this.adam = new Adam(this.compressor.parameters);
    const first = lessons.slice(0, recipe.lessons);
    this.compressor.startAsMean(
      first.flatMap((
        { prefix, samples },
      ) => [...(prefix === null ? [] : [prefix]), ...samples.map(({ tail }) => tail)]),
      recipe.lift,
    );
  }

  /** Takes one step; the samples of a step depend on the seed and its number alone. */
  async step(): Promise<Progress> {
    const { steps, seed, rate } = this.recipe;
    const number = this.adam.steps;
    const random = seededRandom(seed * 1_000_003 + number);
    const drawn = draw(random, this.lessons, this.recipe.lessons, () => 1).map(({ prefix, samples }) => ({
      prefix,
      samples: draw(random, samples, this.recipe.questions, ({ tokens }) => ANSWER_WEIGHT(tokens.length)),
    }));
    this.adam.zeroGradients();
    const progress = await this.#run(drawn, true);
    const part = Math.min(1, number / steps);
    const warm = Math.min(1, (number + 1) / WARM_UP_STEPS);
    this.adam.step(rate * (warm * (1 + Math.cos(Math.PI * part)) / 2 + 0.01), GRADIENT_NORM_MAX);
    return progress;
  }

  /** The losses on other lessons. */
  measure(lessons: readonly Lesson[]): Promise<Progress> {
    return this.#run(lessons, false);
  }

  async #run(lessons: readonly Lesson[], learn: boolean): Promise<Progress> {
    const { decoder, compressor } = this;
    const spans: Span[] = [], samples: Sample[] = [], caches: number[][] = [];
    for (const { prefix, samples: asked } of lessons) {
      const shared = prefix === null ? [] : [spans.push(prefix) - 1];
      for (const sample of asked) {
        samples.push(sample);
        caches.push([...shared, spans.push(sample.tail) - 1]);
      }
    }
    const shortened = compressor.shorten(spans);
    const items = samples.map(({ tokens, position }, i) => ({ tokens, position, caches: caches[i] }));
    const pass = await decoder.forward(items, shortened.caches);
    const weights = rowWeights(samples);
    const teacher = decoder.config.layers;
    const hidden = Array.from(
      { length: teacher },
      (_, layer) => joined(samples.map(({ hidden }) => hidden[layer])),
    );
    const output = divergence(
      pass.logits,
      await decoder.logits(hidden[teacher - 1]),
      decoder.config.vocab,
      weights,
    );
    const layers = pass.hidden.map((state, layer) =>
      distance(state, hidden[layer], decoder.config.hidden, weights)
    );
    if (learn) {
      const scale = this.recipe.hiddenWeight / teacher;
      const dhidden = layers.map(({ gradient }) => gradient.map((slope) => slope * scale));
      compressor.backward(shortened, await decoder.backward(pass, output.gradient, dhidden));
    }
    return {
      divergence: output.value,
      distance: layers.reduce((sum, { value }) => sum + value, 0) / teacher,
      agreement: output.agreed / weights.length,
    };
  }
}

/** Weights of all rows, of sum 1. */
function rowWeights(samples: readonly Sample[]): Float32Array {
  const weights = Float32Array.from(
    samples.flatMap(({ tokens }) =>
      new Array<number>(tokens.length).fill(Math.sqrt(Math.min(1, FULL_WEIGHT_TOKENS / tokens.length)))
    ),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Up to `count` different items, each as likely as its weight (Efraimidis and Spirakis 2006). */
function draw<T>(random: Random, items: readonly T[], count: number, weight: (item: T) => number): T[] {
  return items.map((item) => ({ item, key: nextFloat(random) ** (1 / weight(item)) }))
    .sort((a, b) => b.key - a.key)
    .slice(0, count)
    .map(({ item }) => item);
}
