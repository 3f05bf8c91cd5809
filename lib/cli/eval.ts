/** `eval`: asks a set of questions about pictures through the API and counts the right answers. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { StartError } from "../core/errors.ts";
import { systemClock } from "../core/clock.ts";
import type { EvalValues } from "./flags.ts";
import { accuracyTable, type Answer, judge, type Question, spread } from "./score.ts";

/** The questions that come with the default model. */
const DEFAULT_SET = fileURLToPath(new URL("../../deploy/eval-set", import.meta.url));
/** The longest answer asked for, as the reference measurement does. */
const ANSWER_TOKENS_MAX = 96;

/** What has to be in order before a server is asked or started. */
export interface Evaluation {
  readonly folder: string;
  readonly questions: readonly Question[];
  /** Keeps one answer; called as they come, so that none is lost when a later one fails. */
  readonly keep: (answer: Answer) => void;
}

/** Throws StartError for a set that cannot be read and for a file of answers that cannot be written. */
export async function prepareEvaluation(
  options: Pick<EvalValues, "set" | "limit" | "out">,
): Promise<Evaluation> {
  const folder = options.set ?? DEFAULT_SET;
  const questions = spread(await readQuestions(folder), options.limit);
  return { folder, questions, keep: options.out === null ? () => {} : openAnswers(options.out) };
}

/** Asks every question in a conversation of its own, greedily, and prints the table. `url` is the server's. */
export async function evaluate(
  url: string,
  { folder, questions, keep }: Evaluation,
  options: Pick<EvalValues, "concurrency" | "apiKey">,
): Promise<void> {
  const begun = systemClock.now();
  const answers = new Array<Answer>(questions.length);
  let next = 0;
  const asker = async () => {
    while (next < questions.length) {
      const index = next++;
      const body = await requestBody(folder, questions[index]);
      answers[index] = judge(questions[index], await ask(url, body, options.apiKey[0]));
      keep(answers[index]);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, asker));
  console.log(accuracyTable(answers));
  console.log(`${((systemClock.now() - begun) / 1000).toFixed(0)} s, ${options.concurrency} in flight`);
}

/** A writer of lines to `path`. What the file held before stays until the first answer. */
function openAnswers(path: string): (answer: Answer) => void {
  let begun = false;
  const write = (text: string) => {
    try {
      Deno.writeTextFileSync(path, text, { append: begun || text === "" });
    } catch (error) {
      throw new StartError(`cannot write ${path}: ${error instanceof Error ? error.message : error}`);
    }
  };
  write("");
  return (answer) => {
    try {
      write(answerLine(answer));
      begun = true;
    } catch (error) {
      // A full disk: what was measured goes where it can still be read.
      console.log(answerLine(answer).trimEnd());
      throw error;
    }
  };
}

export async function readQuestions(folder: string): Promise<Question[]> {
  const path = join(folder, "questions.jsonl");
  try {
    const text = await Deno.readTextFile(path);
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Question);
  } catch (error) {
    throw new StartError(`cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  }
}

async function requestBody(folder: string, question: Question): Promise<string> {
  const images = await Promise.all(question.images.map(async (name) => {
    const path = join(folder, name);
    const bytes = await Deno.readFile(path).catch((error) => {
      throw new StartError(`cannot read ${path}: ${error.message}`);
    });
    return { type: "image_url", image_url: { url: `data:image/png;base64,${bytes.toBase64()}` } };
  }));
  const content = [...images, { type: "text", text: question.question }];
  return JSON.stringify({
    messages: [{ role: "user", content }],
    temperature: 0,
    max_completion_tokens: ANSWER_TOKENS_MAX,
  });
}

async function ask(url: string, body: string, apiKey: string | undefined): Promise<string> {
  const headers = new Headers({ "content-type": "application/json" });
  if (apiKey !== undefined) headers.set("authorization", `Bearer ${apiKey}`);
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body }).catch(
    (error) => {
      throw new StartError(`cannot reach ${url}: ${error.message}`);
    },
  );
  const text = await response.text();
  if (!response.ok) throw new StartError(`${url} answered ${response.status}: ${text}`);
  return (JSON.parse(text) as { choices: { message: { content: string } }[] }).choices[0].message.content;
}

/** The same fields as deploy/model/eval.py writes. */
function answerLine({ question, said, correct }: Answer): string {
  const { id, type, question: text, answer } = question;
  return JSON.stringify({ id, type, question: text, answer, said, correct }) + "\n";
}
