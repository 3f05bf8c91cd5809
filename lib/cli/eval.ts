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

/**
 * Asks every question in a conversation of its own, greedily, and prints the table. `url` is the server's.
 * Throws StartError for a set that cannot be read and for a server that does not answer.
 */
export async function evaluate(url: string, options: EvalValues): Promise<readonly Answer[]> {
  const folder = options.set ?? DEFAULT_SET;
  const questions = spread(await readQuestions(folder), options.limit);
  const begun = systemClock.now();
  const answers = new Array<Answer>(questions.length);
  let next = 0;
  const asker = async () => {
    while (next < questions.length) {
      const index = next++;
      const body = await requestBody(folder, questions[index]);
      answers[index] = judge(questions[index], await ask(url, body, options.apiKey[0]));
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, asker));
  if (options.out !== null) await Deno.writeTextFile(options.out, answers.map(answerLine).join(""));
  console.log(accuracyTable(answers));
  console.log(`${((systemClock.now() - begun) / 1000).toFixed(0)} s, ${options.concurrency} in flight`);
  return answers;
}

async function readQuestions(folder: string): Promise<Question[]> {
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
    const bytes = await Deno.readFile(join(folder, name));
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
