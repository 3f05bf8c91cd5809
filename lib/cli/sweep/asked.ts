/** Questions as prompts: tokens whose picture tokens name rows of the embedding store. */
import { join } from "node:path";
import { StartError } from "../../core/errors.ts";
import type { ImageSpan } from "../../engine/compress/method.ts";
import type { EncodeImage, Engine } from "../../engine/engine.ts";
import { decodePicture } from "../../image/decode.ts";
import type { ImageProcessorConfig } from "../../image/image.ts";
import { preprocess } from "../../image/preprocess/mod.ts";
import { FEATURE_ROW } from "../../ops/backend.ts";
import type { TextProcessor } from "../../text/text.ts";
import { readQuestions } from "../eval.ts";
import { type Question, spread } from "../score.ts";

export interface SetQuestion {
  readonly question: Question;
  /** Files of its pictures. */
  readonly pictures: readonly string[];
}

/** Tokens beyond those of the right answer before an answer is given up: it is wrong whatever follows. */
const LONGER_TOKENS_MAX = 12;

export interface Asked {
  readonly question: Question;
  readonly tokens: Uint32Array;
  /** No right answer is longer. */
  readonly answerTokensMax: number;
  readonly images: readonly ImageSpan[];
}

/** The questions of all folders, or some `limit` evenly spread ones. Throws StartError for a set that cannot be read. */
export async function questionsOf(folders: readonly string[], limit: number | null): Promise<SetQuestion[]> {
  const sets = await Promise.all(
    folders.map(async (folder) =>
      (await readQuestions(folder)).map((question) => ({
        question,
        pictures: question.images.map((name) => join(folder, name)),
      }))
    ),
  );
  return spread(sets.flat(), limit);
}

/** Pictures that are prepared and encoded together. */
const ENCODE_BATCH = 16;

/** Encodes each picture once; returns the first row of its features by its file. */
export async function encodePictures(
  engine: Engine,
  files: readonly string[],
  images: ImageProcessorConfig,
  rows: number,
  progress: (done: number) => void,
): Promise<ReadonlyMap<string, number>> {
  const { embeddingRows } = engine.facts;
  if (files.length * rows > embeddingRows) {
    const most = Math.floor(embeddingRows / rows);
    throw new StartError(`${files.length} pictures are too many: this device holds features of ${most}`);
  }
  for (let first = 0; first < files.length; first += ENCODE_BATCH) {
    const batch = await Promise.all(
      files.slice(first, first + ENCODE_BATCH).map(async (file, i): Promise<EncodeImage> => {
        const bytes = await Deno.readFile(file).catch((error) => {
          throw new StartError(`cannot read ${file}: ${error.message}`);
        });
        const prepared = preprocess(await decodePicture(bytes), images);
        return { ...prepared, embeddingRow: (first + i) * rows, embeddingRows: rows };
      }),
    );
    await engine.encode(batch);
    progress(first + batch.length);
  }
  return new Map(files.map((file, i) => [file, i * rows]));
}

/** Each question in a conversation of its own, through the chat template, as a request for it becomes tokens. */
export function promptOf(
  { question, pictures }: SetQuestion,
  text: TextProcessor,
  imageTokenId: number,
  rows: number,
  rowOf: ReadonlyMap<string, number>,
): Asked {
  const content = [
    ...pictures.map(() => ({ type: "image" }) as const),
    { type: "text", text: question.question } as const,
  ];
  const ids = text.encode(text.render([{ role: "user", content }]), "chat", pictures.map(() => rows));
  const images: ImageSpan[] = [];
  const tokens = new Uint32Array(ids.length);
  for (let at = 0; at < ids.length;) {
    if (ids[at] !== imageTokenId) {
      tokens[at] = ids[at++];
      continue;
    }
    const row = rowOf.get(pictures[images.length])!;
    images.push({ first: at, count: rows });
    for (let i = 0; i < rows; i++) tokens[at++] = FEATURE_ROW + row + i;
  }
  const answerTokensMax = text.encode(question.answer, "plain", []).length + LONGER_TOKENS_MAX;
  return { question, tokens, images, answerTokensMax };
}
