/**
 * Many pictures in one long prompt, as in MileBench: its mix of few (2 to 5), medium (6 to 31) and many (32 to 109)
 * pictures, its number of words, and its three groups of tasks, over drawn scenes.
 */
import { Tokenizer } from "../../lib/text/tokenizer.ts";
import { readSpecialTokens } from "../../lib/text/special_tokens.ts";
import { readJson } from "../../lib/model/json.ts";
import { fileURLToPath } from "node:url";
import type { Draws } from "../draws.ts";
import type { LoadRequest, Part, Score } from "../load/request.ts";
import { render } from "../scenes/render.ts";
import { askSet, type SetKind } from "../scenes/set_questions.ts";
import { makeSet } from "../scenes/sets.ts";
import { samplesOf } from "./milebench_files.ts";
import { drawnImage, type Image, serials } from "./picture.ts";
import { equals } from "./scoring.ts";
import { filler } from "./filler.ts";
import { type Fragment, type TokenCount, truncateLeft } from "./truncate.ts";
import { lengthOf, type Workload } from "./workload.ts";

/** A sample before it is cut to the model's length. */
export interface Sample {
  readonly group: string;
  /** Stays whatever the length. */
  readonly instruction: string;
  readonly fragments: readonly Fragment<Image>[];
  readonly score: Score | null;
}

/** Shares chosen so that the mean number of pictures is MileBench's 15.2: 0.525·3.5 + 0.387·18.5 + 0.088·70.5. */
const LEVELS = [
  { least: 2, most: 5, share: 0.525 },
  { least: 6, most: 31, share: 0.387 },
  { least: 32, most: 109, share: 0.088 },
] as const;
/** MileBench's mean number of words. */
const WORDS_MEAN = 422.3;
/** Spread of the number of words: the shape of a gamma distribution. */
const WORDS_SHAPE = 1.5;

/** Sets of its 29 tasks: 13 temporal, 13 semantic, 3 diagnostic; and what comes nearest to them over drawn scenes. */
const TASKS = [
  { group: "temporal", share: 13, kinds: ["difference", "same"] },
  { group: "semantic", share: 13, kinds: ["which_image", "count_images", "indexed", "most"] },
  { group: "diagnostic", share: 3, kinds: ["needle"] },
] as const satisfies readonly { group: string; share: number; kinds: readonly SetKind[] }[];

export function imagesPerSample(draws: Draws): number {
  const { least, most } = draws.weighted(LEVELS, LEVELS.map(({ share }) => share));
  return draws.integer(least, most);
}

function drawnSample(draws: Draws): Sample {
  const { group, kinds } = draws.weighted<typeof TASKS[number]>(TASKS, TASKS.map(({ share }) => share));
  const count = imagesPerSample(draws);
  while (true) {
    const set = makeSet(draws, count);
    const asked = askSet(draws, set, draws.pick<SetKind>(kinds));
    if (asked === null) continue;
    const words = Math.round(WORDS_MEAN * draws.gamma(WORDS_SHAPE) / WORDS_SHAPE);
    const each = Math.floor(words / (count + 1));
    return {
      group,
      instruction: "",
      fragments: [
        ...set.scenes.map((scene) => ({
          text: filler(draws, each),
          image: drawnImage(render(scene)),
        })),
        { text: asked.question, image: null },
      ],
      score: equals(asked.answer),
    };
  }
}

/** The default model's tokenizer. It has few tokens, so other models need fewer than it says. */
async function tokenCount(): Promise<TokenCount> {
  const path = fileURLToPath(new URL("../../deploy/model/tokenizer.json", import.meta.url));
  const tokenizer = new Tokenizer((await readJson(path))!, readSpecialTokens(null, null));
  return (text) => tokenizer.encode(text, false).length;
}

/** Room for the template's own tokens around a prompt. */
const TEMPLATE_TOKENS = 16;

export const mileBench: Workload = async (options) => {
  const { draws, count, data, fresh, outputTokens, contextTokens, imageTokens } = options;
  const samples = data === null
    ? Array.from({ length: count }, () => drawnSample(draws))
    : samplesOf(data, draws, count);
  const tokens = await tokenCount();
  const length = lengthOf(outputTokens);
  const nextSerial = serials(fresh);
  const requests: LoadRequest[] = [];
  for (const { group, instruction, fragments, score } of samples) {
    const budget = contextTokens - length.maxTokens - TEMPLATE_TOKENS - tokens(instruction);
    const content: Part[] = instruction === "" ? [] : [{ type: "text", text: `${instruction}\n` }];
    for (const { text, image } of truncateLeft(fragments, budget, imageTokens, tokens)) {
      if (text !== "") content.push({ type: "text", text });
      if (image !== null) content.push(await image.part(nextSerial()));
    }
    requests.push({
      group,
      messages: [{ role: "user", content }],
      ...length,
      score: length.fixedLength ? null : score,
    });
  }
  return requests;
};
