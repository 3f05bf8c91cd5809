/** The learned method (the paper's): groups of slots of a head become one by trained networks, pictures and text and layers apart. */
import { assert } from "../../core/assert.ts";
import type { Compression, Method, Settings, Size } from "./method.ts";
import { meanPoolFactor, ratioOf, ratioText } from "./mean_pool.ts";
import { keptByLearned, layerFacts, type LearnedFacts } from "./segments.ts";

/** What was trained for a factor, as settings: no request names them, `withTrained` fills them in. */
function settingsOf({ minGroups, factors: { text, image } }: LearnedFacts): Settings {
  return { min_groups: minGroups, text, image };
}

function factsOf(size: Size, settings: Settings): LearnedFacts {
  const { min_groups: minGroups, text, image } = settings;
  assert(
    typeof minGroups === "number" && Array.isArray(text) && Array.isArray(image),
    "a factor was trained before it is taken",
  );
  return { factor: factorOf(size), minGroups, factors: { text, image } };
}

function factorOf(size: Size): number {
  const factor = "ratio" in size ? meanPoolFactor(size.ratio) : null;
  assert(factor !== null, "a size of the learned method is a factor");
  return factor;
}

export const learned: Method = {
  settings: {},
  rerotates: false,
  protects: false,
  queryAgnostic: true,
  need: () => null,
  kept({ slots, images }, size, settings) {
    const facts = factsOf(size, settings);
    return slots.map((stored, layer) => keptByLearned(stored, images, layerFacts(facts, layer)));
  },
  sizeOf(size) {
    if (!("ratio" in size)) return "learned takes a ratio it was trained for, no budget";
    const factor = meanPoolFactor(size.ratio);
    return factor === null
      ? `ratio of learned must make 1 / (1 - ratio) a whole number it was trained for (2 is 0.5, 3 is 0.667, 5 is 0.8), got ${size.ratio}`
      : { ratio: ratioOf(factor) };
  },
  variant: ({ size }) => factorOf(size),
  record(batch) {
    const factor = factorOf(batch.prompts[0].size);
    const networks = batch.networks.find(({ facts }) => facts.factor === factor);
    assert(networks !== undefined, "a factor was trained before it is taken");
    networks.record(batch);
  },
};

/** With what was trained for its ratio, where the method needs that; or why there is nothing. */
export function withTrained<C extends Compression>(
  compression: C,
  compressors: readonly LearnedFacts[],
): { readonly compression: C } | { readonly problem: string } {
  const { method, size } = compression;
  if (method !== "learned") return { compression };
  const trained = compressors.find(({ factor }) => factor === factorOf(size));
  if (trained !== undefined) return { compression: { ...compression, settings: settingsOf(trained) } };
  if (compressors.length === 0) return { problem: "this model has no learned compressor" };
  const offered = compressors.map(({ factor }) => `${ratioText(factor)} (${factor} to 1)`);
  return {
    problem: `ratio of learned must be one that this model's compressor was trained for: ${
      offered.join(", ")
    }`,
  };
}

/** With the factor that stands `steps` places below its own among the trained ones; null where there is none. */
export function withSmaller<C extends Compression>(
  compression: C,
  steps: number,
  compressors: readonly LearnedFacts[],
): C | null {
  const own = factorOf(compression.size);
  const smaller = compressors.filter(({ factor }) => factor < own).sort((a, b) => b.factor - a.factor);
  const trained = smaller[steps - 1];
  if (trained === undefined) return null;
  return { ...compression, size: { ratio: ratioOf(trained.factor) }, settings: settingsOf(trained) };
}
