/** One picture and a question: drawn scenes, several questions each, as GQA asks several about a photograph. */
import type { Draws } from "../draws.ts";
import type { LoadRequest, Part } from "../load/request.ts";
import { ask, askAny, type Kind, SHORT_KINDS } from "../scenes/questions.ts";
import { render } from "../scenes/render.ts";
import { makeScene } from "../scenes/scene.ts";
import { captionsOf, questionsOf } from "./gqa_files.ts";
import { drawnImage, type Image, serials } from "./picture.ts";
import { captionScore, equals } from "./scoring.ts";
import { lengthOf, type Workload, type WorkloadOptions } from "./workload.ts";

/** Questions about one picture in a row of requests. GQA's own files have some 30; a user stays for fewer. */
const QUESTIONS_PER_IMAGE = 8;

/** A question about an image, before it is a request. */
export interface ImageQuestion {
  readonly image: Image;
  readonly question: string;
  readonly group: string;
  readonly score: LoadRequest["score"];
}

async function toRequests(
  questions: readonly ImageQuestion[],
  { fresh, outputTokens }: WorkloadOptions,
): Promise<LoadRequest[]> {
  const nextSerial = serials(fresh);
  return await Promise.all(questions.map(async ({ image, question, group, score }): Promise<LoadRequest> => {
    const content: Part[] = [await image.part(nextSerial()), { type: "text", text: question }];
    const length = lengthOf(outputTokens);
    return {
      group,
      messages: [{ role: "user", content }],
      ...length,
      score: length.fixedLength ? null : score,
    };
  }));
}

function drawn(draws: Draws, count: number, kinds: readonly Kind[]): ImageQuestion[] {
  const questions: ImageQuestion[] = [];
  while (questions.length < count) {
    const scene = makeScene(draws, draws.integer(1, 6));
    const image = drawnImage(render(scene));
    for (let i = 0; i < QUESTIONS_PER_IMAGE && questions.length < count; i++) {
      const { question, answer, kind } = askAny(draws, scene, kinds);
      questions.push({ image, question, group: kind, score: equals(answer) });
    }
  }
  return draws.shuffled(questions);
}

export const gqaVqa: Workload = async (options) => {
  const { draws, count, data } = options;
  return await toRequests(
    data === null ? drawn(draws, count, SHORT_KINDS) : questionsOf(data, draws, count),
    options,
  );
};

export const gqaCaption: Workload = async (options) => {
  const { draws, count, data } = options;
  if (data !== null) return await toRequests(captionsOf(data, draws, count), options);
  const questions = Array.from({ length: count }, (): ImageQuestion => {
    const scene = makeScene(draws, draws.integer(4, 6));
    const { question, answer } = ask(draws, scene, "caption")!;
    return { image: drawnImage(render(scene)), question, group: "caption", score: captionScore(answer) };
  });
  return await toRequests(questions, options);
};
