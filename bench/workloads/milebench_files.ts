/** MileBench's own files: `<Task>/<Task>.json` and `<Task>/images/`. */
import { join } from "node:path";
import type { Draws } from "../draws.ts";
import type { Score } from "../load/request.ts";
import type { Sample } from "./milebench.ts";
import { fileImage, type Image } from "./picture.ts";
import { choiceScore, needleScore, rougeScore, substringScore } from "./scoring.ts";
import type { Fragment } from "./truncate.ts";

interface TaskFile {
  readonly meta_data: {
    /** By number or by name. */
    readonly task_instruction: readonly string[] | Readonly<Record<string, string>>;
    readonly question_type: string;
  };
  readonly data: readonly TaskSample[];
}

interface TaskSample {
  readonly task_instruction_id: number | string;
  readonly task_instance: {
    readonly context: string;
    readonly images_path: readonly string[];
    readonly choice_list?: readonly string[];
  };
  readonly response: string | number;
}

/** More than 26 choices, so they go without letters. */
const WITHOUT_LETTERS: ReadonlySet<string> = new Set(["GPR1200"]);

/** The context with its choices behind it. */
function contextOf(task: string, { context, choice_list: choices }: TaskSample["task_instance"]): string {
  if (choices === undefined) return context;
  const lines = choices.map((choice, index) =>
    WITHOUT_LETTERS.has(task) ? choice : `${String.fromCharCode(65 + index)}. ${choice}`
  );
  return `${context}\nChoice list: \n${lines.join("\n")}\nYour answer is: `;
}

/** Cuts the context at its `{image#1}` and `{table#1}`. */
export function fragmentsOf<T>(context: string, image: (number: number) => T): Fragment<T>[] {
  const pieces = context.split(/\{(?:image|table)#(\d+)\}/);
  const fragments: Fragment<T>[] = [];
  for (let i = 0; i < pieces.length; i += 2) {
    const number = pieces[i + 1];
    fragments.push({ text: pieces[i], image: number === undefined ? null : image(Number(number)) });
  }
  return fragments;
}

export function scoreOf(task: string, questionType: string, sample: TaskSample): Score {
  const answer = String(sample.response);
  if (task.includes("NeedleInAHaystack")) return needleScore(answer);
  if (task.includes("MMCoQA")) return substringScore(answer);
  if (questionType === "open-ended") return rougeScore(answer);
  const choices = sample.task_instance.choice_list;
  if (questionType !== "multi-choice" || choices === undefined) {
    throw new Error(`${task}: question type "${questionType}" has no scoring rule`);
  }
  return choiceScore(answer, choices);
}

/** `count` samples, over all tasks found; a sample's pictures are read when it is sent. */
export function samplesOf(folder: string, draws: Draws, count: number): Sample[] {
  const tasks = [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
    .sort();
  const all = tasks.flatMap((task) => {
    const { meta_data: meta, data } = JSON.parse(
      Deno.readTextFileSync(join(folder, task, `${task}.json`)),
    ) as TaskFile;
    return data.map((sample) => ({ task, meta, sample }));
  });
  if (all.length === 0) throw new Error(`${folder} has no <Task>/<Task>.json`);
  return draws.shuffled(all).slice(0, count).map(({ task, meta, sample }): Sample => {
    const instructions = meta.task_instruction as Readonly<Record<string, string>>;
    const { task_instance: instance } = sample;
    const image = (number: number): Image =>
      fileImage(join(folder, task, "images", instance.images_path[number - 1]));
    return {
      group: task,
      instruction: instructions[String(sample.task_instruction_id)],
      fragments: fragmentsOf(contextOf(task, instance), image),
      score: scoreOf(task, meta.question_type, sample),
    };
  });
}
