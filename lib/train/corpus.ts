/** Questions about pictures to train on: a folder of pictures and a file of prompts. */
import { join } from "node:path";
import { StartError } from "../core/errors.ts";

/** One question in a conversation of its own. */
export interface Question {
  /** Picture files, in the order of the conversation; paths as opened. */
  readonly images: readonly string[];
  readonly text: string;
}

const PICTURE = /\.(png|jpe?g|webp|gif)$/i;
/** Read without --prompts where the folder has it. */
const QUESTIONS_FILE = "questions.jsonl";
/** Asked about every picture when there is nothing else to ask. */
const PROMPT_DEFAULT = "Describe the picture in every detail.";

/**
 * `prompts`: lines of JSON with `images` (paths inside `folder`) and `question`, or plain lines, each asked about every
 * picture. Questions about the same pictures come one after the other. Throws StartError.
 */
export async function readCorpus(folder: string, prompts: string | null): Promise<Question[]> {
  const path = prompts ?? join(folder, QUESTIONS_FILE);
  const text = await readLines(path, prompts === null);
  const questions = text?.[0].startsWith("{")
    ? text.map((line, i) => parseQuestion(line, `${path}, line ${i + 1}`, folder))
    : await everyPicture(folder, text ?? [PROMPT_DEFAULT]);
  const groups = Map.groupBy(questions, ({ images }) => images.join("\n"));
  return [...groups.values()].flat();
}

/** Lines that are not empty; null for a file that is absent and need not be there. */
async function readLines(path: string, optional: boolean): Promise<string[] | null> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (optional && error instanceof Deno.errors.NotFound) return null;
    throw new StartError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (lines.length === 0) throw new StartError(`${path} holds no prompts`);
  return lines;
}

function parseQuestion(line: string, where: string, folder: string): Question {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new StartError(`${where} is not JSON`);
  }
  if (typeof value !== "object" || value === null) throw new StartError(`${where} is not an object`);
  const { images, question } = value as { images?: unknown; question?: unknown };
  if (!Array.isArray(images) || !images.every((name) => typeof name === "string")) {
    throw new StartError(`${where}: "images" must be a list of paths`);
  }
  if (typeof question !== "string" || question === "") {
    throw new StartError(`${where}: "question" must be a text`);
  }
  return { images: images.map((name) => join(folder, name)), text: question };
}

async function everyPicture(folder: string, texts: readonly string[]): Promise<Question[]> {
  const names: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(folder)) {
      if (isFile && PICTURE.test(name)) names.push(name);
    }
  } catch (error) {
    throw new StartError(`cannot read ${folder}: ${error instanceof Error ? error.message : error}`);
  }
  if (names.length === 0) throw new StartError(`${folder} holds no pictures (png, jpeg, webp or gif)`);
  return names.sort().flatMap((name) => texts.map((text) => ({ images: [join(folder, name)], text })));
}
