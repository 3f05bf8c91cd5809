/** Picture questions of the evaluation set as request bodies. */

interface Row {
  readonly images: readonly string[];
  readonly question: string;
  readonly answer: string;
}

const EVAL_SET = new URL("../../deploy/eval-set/", import.meta.url);
const ROWS = Deno.readTextFileSync(new URL("questions.jsonl", EVAL_SET)).trim().split("\n")
  .map((line) => JSON.parse(line) as Row)
  .filter((row) => row.images.length === 1);

/** A chat completion body, greedy, without `model`; `index` counts the questions about one picture. */
export function pictureQuestion(index: number) {
  const { images, question } = ROWS[index % ROWS.length];
  const picture = Deno.readFileSync(new URL(images[0], EVAL_SET)).toBase64();
  return {
    messages: [{
      role: "user" as const,
      content: [
        { type: "image_url" as const, image_url: { url: `data:image/png;base64,${picture}` } },
        { type: "text" as const, text: question },
      ],
    }],
    temperature: 0,
  };
}
