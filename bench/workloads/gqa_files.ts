/**
 * GQA's own files: `*questions.json` (a dictionary from id to question) and `images/<imageId>.jpg`; for captions the
 * records that LLaVA's instruction mix keeps about GQA's pictures (`[{ image: "gqa/<id>.jpg", conversations: […] }]`).
 */
import { join } from "node:path";
import type { Draws } from "../draws.ts";
import type { ImageQuestion } from "./gqa.ts";
import { fileImage, type Image } from "./picture.ts";
import { gqaScore, rougeScore } from "./scoring.ts";

interface GqaQuestion {
  readonly imageId: string;
  readonly question: string;
  /** Absent in the test and challenge splits. */
  readonly answer?: string;
  readonly types?: { readonly structural?: string };
}

interface Conversation {
  readonly id: string;
  readonly image?: string;
  readonly conversations: readonly { readonly from: string; readonly value: string }[];
}

/** What LLaVA's protocol appends, so that answers can be compared. */
const SHORT_ANSWER = "\nAnswer the question using a single word or phrase.";
const DESCRIBE = "Describe the image in detail.";

/** V8 holds no longer string. The largest split comes in several files that are smaller. */
const FILE_BYTES_MAX = 500_000_000;

function readJsonFile(path: string): unknown {
  const { size } = Deno.statSync(path);
  if (size > FILE_BYTES_MAX) {
    throw new Error(`${path} has ${size} bytes, at most ${FILE_BYTES_MAX} can be read: take a smaller split`);
  }
  return JSON.parse(Deno.readTextFileSync(path));
}

function jsonFiles(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".json"))
    .sort();
}

/** One image object a file, so that its bytes are read once. */
function images(folder: string): (name: string) => Image {
  const known = new Map<string, Image>();
  return (name) => {
    let image = known.get(name);
    if (image === undefined) known.set(name, image = fileImage(join(folder, "images", name)));
    return image;
  };
}

/** Questions of pictures in random order, all of a picture together before the whole is shuffled; `count` at most. */
export function questionsOf(folder: string, draws: Draws, count: number): ImageQuestion[] {
  const file = jsonFiles(folder).find((name) => name.endsWith("questions.json"));
  if (file === undefined) throw new Error(`${folder} has no *questions.json`);
  const all = Object.values(readJsonFile(join(folder, file)) as Readonly<Record<string, GqaQuestion>>);
  const image = images(folder);
  const byImage = Map.groupBy(all, ({ imageId }) => imageId);
  const picked = draws.shuffled([...byImage.values()]).flat().slice(0, count);
  return draws.shuffled(picked).map(({ imageId, question, answer, types }) => ({
    image: image(`${imageId}.jpg`),
    question: question + SHORT_ANSWER,
    group: types?.structural ?? "question",
    score: answer === undefined ? null : gqaScore(answer),
  }));
}

/** Pictures to be described; scored by ROUGE-L against the record's own answer. */
export function captionsOf(folder: string, draws: Draws, count: number): ImageQuestion[] {
  const file = jsonFiles(folder).find((name) => !name.endsWith("questions.json"));
  if (file === undefined) throw new Error(`${folder} has no file of conversations beside the questions`);
  const records = (readJsonFile(join(folder, file)) as readonly Conversation[])
    .filter((record) => record.image?.startsWith("gqa/"));
  const image = images(folder);
  return draws.shuffled(records).slice(0, count).map(({ image: path, conversations }) => {
    const answer = conversations.find(({ from }) => from !== "human")?.value ?? null;
    return {
      image: image(path!.slice("gqa/".length)),
      question: DESCRIBE,
      group: "caption",
      score: answer === null ? null : rougeScore(answer),
    };
  });
}
