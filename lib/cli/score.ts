/** Counting right answers by question type, with the same rule as deploy/model/eval.py. */

export interface Question {
  readonly id: string;
  /** Paths relative to the set's folder. */
  readonly images: readonly string[];
  readonly question: string;
  readonly answer: string;
  readonly type: string;
}

export interface Answer {
  readonly question: Question;
  readonly said: string;
  readonly correct: boolean;
}

/** Lower case, no final punctuation, single spaces. */
export function normalAnswer(text: string): string {
  return text.toLowerCase().trim().replace(/[.!?]+$/, "").split(/\s+/).filter((word) => word !== "").join(
    " ",
  );
}

export function judge(question: Question, said: string): Answer {
  return { question, said, correct: normalAnswer(said) === normalAnswer(question.answer) };
}

/** Every n-th question so that about `limit` remain. */
export function spread<T>(all: readonly T[], limit: number | null): T[] {
  const stride = limit === null ? 1 : Math.max(1, Math.floor(all.length / limit));
  return all.filter((_, index) => index % stride === 0);
}

/** A line a type in the order of first appearance, then one picture, several pictures, all. */
export function accuracyTable(answers: readonly Answer[]): string {
  const types = [...new Set(answers.map((answer) => answer.question.type))];
  const several = (answer: Answer) => answer.question.type.startsWith("multi_");
  const groups: [string, readonly Answer[]][] = [
    ...types.map((
      type,
    ): [string, readonly Answer[]] => [type, answers.filter((a) => a.question.type === type)]),
    ["one picture", answers.filter((answer) => !several(answer))],
    ["several pictures", answers.filter(several)],
    ["all", answers],
  ];
  const lines = groups.filter(([, group]) => group.length > 0).map(([label, group]) => {
    const right = group.filter((answer) => answer.correct).length;
    const percent = (100 * right / group.length).toFixed(1);
    return `${label.padEnd(20)} ${percent.padStart(8)}% ${String(right).padStart(6)} ${
      String(group.length).padStart(6)
    }`;
  });
  return [
    `${"type".padEnd(20)} ${"accuracy".padStart(9)} ${"right".padStart(6)} ${"n".padStart(6)}`,
    ...lines,
  ].join("\n");
}
