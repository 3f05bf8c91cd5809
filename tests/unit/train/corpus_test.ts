import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { readCorpus } from "../../../lib/train/corpus.ts";
import { withFolder } from "../../support/model_files.ts";

const line = (images: unknown, question: unknown) => JSON.stringify({ images, question, answer: "not read" });

Deno.test("readCorpus reads a folder's questions.jsonl and puts questions about the same pictures together", async () => {
  const lines = [line(["a.png"], "one?"), line(["a.png", "b.png"], "two?"), line(["a.png"], "three?")];
  await withFolder({ "questions.jsonl": lines.join("\n") }, async (dir) => {
    assert.deepEqual(await readCorpus(dir, null), [
      { images: [`${dir}/a.png`], text: "one?" },
      { images: [`${dir}/a.png`], text: "three?" },
      { images: [`${dir}/a.png`, `${dir}/b.png`], text: "two?" },
    ]);
  });
});

Deno.test("readCorpus asks every picture each line of a plain file, or one question without any", async () => {
  await withFolder({ "b.jpg": "", "a.PNG": "", "notes.txt": "what?\n\nwhere?\n" }, async (dir) => {
    const asked = (await readCorpus(dir, `${dir}/notes.txt`)).map((
      { images, text },
    ) => [images[0].slice(dir.length + 1), text]);
    assert.deepEqual(asked, [["a.PNG", "what?"], ["a.PNG", "where?"], ["b.jpg", "what?"], [
      "b.jpg",
      "where?",
    ]]);
    assert.equal((await readCorpus(dir, null)).length, 2);
  });
});

Deno.test("readCorpus says what is wrong with a file or a folder", async () => {
  const files = {
    "bad.jsonl": `${line(["a"], "q")}\n{"images":`,
    "null.jsonl": `${line(["a"], "q")}\nnull`,
    "none.jsonl": "\n",
    "fields.jsonl": line("a", "q"),
  };
  await withFolder({ ...files, "empty.jsonl": line([], "") }, async (dir) => {
    const refused = async (name: string, message: RegExp) =>
      await assert.rejects(readCorpus(dir, `${dir}/${name}`), (error) => {
        assert(error instanceof StartError);
        assert.match(error.message, message);
        return true;
      });
    await refused("bad.jsonl", /line 2 is not JSON/);
    await refused("null.jsonl", /line 2 is not an object/);
    await refused("none.jsonl", /holds no prompts/);
    await refused("fields.jsonl", /line 1: "images" must be a list/);
    await refused("empty.jsonl", /line 1: "question" must be a text/);
    await refused("absent.jsonl", /cannot read .*absent/);
    await assert.rejects(readCorpus(dir, null), /holds no pictures/);
  });
});
