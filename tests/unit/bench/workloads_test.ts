import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Draws } from "../../../bench/draws.ts";
import type { LoadRequest, Part } from "../../../bench/load/request.ts";
import { imagesPerSample } from "../../../bench/workloads/milebench.ts";
import { type WorkloadName, WORKLOADS } from "../../../bench/workloads/mod.ts";
import type { WorkloadOptions } from "../../../bench/workloads/workload.ts";

const GQA = fileURLToPath(new URL("../../fixtures/gqa", import.meta.url));
const MILEBENCH = fileURLToPath(new URL("../../fixtures/milebench", import.meta.url));

function make(name: WorkloadName, options: Partial<WorkloadOptions>): Promise<LoadRequest[]> {
  return WORKLOADS[name]({
    count: 24,
    draws: new Draws("test"),
    fresh: false,
    outputTokens: null,
    data: null,
    contextTokens: 2048,
    imageTokens: 70,
    ...options,
  });
}

const partsOf = ({ messages }: LoadRequest): Part[] =>
  messages.flatMap(({ content }) =>
    typeof content === "string" ? [{ type: "text", text: content }] : content
  );
const imagesOf = (request: LoadRequest): string[] =>
  partsOf(request).flatMap((part) => part.type === "image_url" ? [part.image_url.url] : []);
const textOf = (request: LoadRequest): string =>
  partsOf(request).flatMap((part) => part.type === "text" ? [part.text] : []).join("");

for (const name of Object.keys(WORKLOADS) as WorkloadName[]) {
  Deno.test(`${name} makes the same requests from the same seed and as many as asked`, async () => {
    const [one, same, other] = await Promise.all([
      make(name, {}),
      make(name, {}),
      make(name, { draws: new Draws("other") }),
    ]);
    const bodies = (requests: LoadRequest[]) => JSON.stringify(requests.map(({ messages }) => messages));
    assert.equal(one.length, 24);
    assert.equal(bodies(one), bodies(same));
    assert.notEqual(bodies(one), bodies(other));
    assert.ok(one.every(({ score }) => score !== null && score("nonsense 17") < 1));
  });
}

Deno.test("gqa-vqa asks several questions a picture, and none twice when fresh", async () => {
  const repeated = (await make("gqa-vqa", {})).flatMap(imagesOf);
  assert.equal(new Set(repeated).size, 3);
  const fresh = (await make("gqa-vqa", { fresh: true })).flatMap(imagesOf);
  assert.equal(new Set(fresh).size, 24);
});

Deno.test("an answer of a fixed length is not judged", async () => {
  const [request] = await make("gqa-caption", { count: 1, outputTokens: 64 });
  assert.deepEqual([request.maxTokens, request.fixedLength, request.score], [64, true, null]);
});

Deno.test("chat begins every turn with the whole turn before", async () => {
  const requests = await make("chat", { count: 40 });
  const begins = new Set(requests.map(({ messages }) => JSON.stringify(messages)));
  const later = requests.filter(({ messages }) => messages.length > 2);
  assert.ok(later.length > 10);
  // Without its last question and the answer before: a request that was made too.
  for (const { messages } of later) assert.ok(begins.has(JSON.stringify(messages.slice(0, -2))));
});

Deno.test("milebench has MileBench's 15.2 pictures a sample, from 2 to 109", () => {
  const draws = new Draws("levels");
  const counts = Array.from({ length: 20_000 }, () => imagesPerSample(draws));
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  assert.ok(Math.abs(mean - 15.2) < 0.6, `${mean}`);
  assert.deepEqual([Math.min(...counts), Math.max(...counts)], [2, 109]);
});

Deno.test("milebench cuts prompts to the model's length and keeps the question", async () => {
  const short = await make("milebench", { count: 12 });
  const long = await make("milebench", { count: 12, contextTokens: 100_000 });
  short.forEach((request, i) => {
    assert.ok(imagesOf(request).length * 70 <= 2048 - 96, `${imagesOf(request).length} pictures`);
    assert.ok(textOf(long[i]).endsWith(textOf(request).slice(-20)));
  });
  assert.ok(long.some((request, i) => imagesOf(request).length > imagesOf(short[i]).length));
});

Deno.test("gqa-vqa reads GQA's questions, a picture file once, and the answer where a split has one", async () => {
  const requests = await make("gqa-vqa", { data: GQA });
  assert.equal(requests.length, 3);
  const shirt = requests.find((request) => textOf(request).startsWith("What color is the shirt?"))!;
  assert.match(textOf(shirt), /Answer the question using a single word or phrase\.$/);
  assert.match(imagesOf(shirt)[0], /^data:image\/jpeg;base64,/);
  assert.deepEqual([shirt.group, shirt.score!("Dark blue."), shirt.score!("red")], ["query", 1, 0]);
  const boy = requests.find((request) => textOf(request).startsWith("What is the boy"))!;
  assert.equal(boy.score, null);
});

Deno.test("gqa-vqa makes a fresh picture of a file", async () => {
  const requests = await make("gqa-vqa", { data: GQA, fresh: true });
  assert.equal(new Set(requests.flatMap(imagesOf)).size, 3);
});

Deno.test("gqa-caption takes the records about GQA's pictures alone", async () => {
  const requests = await make("gqa-caption", { data: GQA });
  assert.equal(requests.length, 1);
  assert.equal(requests[0].score!("dark blue"), 1);
});

Deno.test("milebench reads tasks with their instruction, choices, pictures and scoring rule", async () => {
  const requests = await make("milebench", { data: MILEBENCH });
  const of = (group: string) => requests.find((request) => request.group === group)!;
  assert.equal(requests.length, 3);
  assert.equal(
    textOf(of("ActionOrder")),
    "Choose the right answer.\n\nWhat happened after the person took the cup?\nChoice list: \n" +
      "A. Opened the door.\nB. Washed the dish.\nC. Sat down.\nYour answer is: ",
  );
  assert.equal(imagesOf(of("ActionOrder")).length, 3);
  assert.deepEqual(["B", "A"].map(of("ActionOrder").score!), [1, 0]);
  assert.deepEqual(partsOf(of("DocVQA")).map(({ type }) => type), [
    ...["text", "text", "image_url", "text", "image_url", "text"],
  ]);
  assert.equal(of("DocVQA").score!("the total is $1,234.50"), 0.4);
  assert.equal(of("TextNeedleInAHaystack").score!("It is 4711."), 1);
});
