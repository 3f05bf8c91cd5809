/** `train-compressor` as its users run it, and a server with what it wrote. */
import assert from "node:assert/strict";
import { openCompressor } from "../../lib/model/compressor_file.ts";
import { startServer } from "../support/server.ts";
import { withFolder } from "../support/model_files.ts";

const PROJECT = new URL("../../", import.meta.url);
const PICTURES = new URL("../../deploy/eval-set/", import.meta.url).pathname;

async function train(...args: string[]): Promise<{ code: number; said: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", "main.ts", "train-compressor", "--backend", "wasm", ...args],
    cwd: PROJECT,
    stdin: "null",
  }).output();
  return { code, said: new TextDecoder().decode(stderr) };
}

Deno.test("train-compressor writes weights for each factor, and a server offers these factors alone", async () => {
  const questions = [["001", "what colour is the small triangle?"], ["002", "describe the picture"]]
    .map(([number, question]) => JSON.stringify({ images: [`images/image-${number}.png`], question }));
  await withFolder({ "prompts.jsonl": questions.join("\n") }, async (dir) => {
    const out = `${dir}/c.safetensors`, curves = `${dir}/curves.csv`;
    const { code, said } = await train(
      ...["--images", PICTURES, "--prompts", `${dir}/prompts.jsonl`, "--out", out, "--curves", curves],
      ...["--factor", "2,5", "--steps", "2"],
    );
    assert.equal(code, 0, said);
    assert.match(said, /factor 5: \[#{20}\] 2\/2, output [\d.]+, hidden [\d.]+, agreement [\d.]+ %/);
    const lines = (await Deno.readTextFile(curves)).trim().split("\n");
    assert.deepEqual(lines.map((line) => line.split(",").slice(0, 2)), [["factor", "step"], ["2", "2"], [
      "5",
      "2",
    ]]);
    const left = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
    assert.deepEqual(left, ["c.safetensors", "curves.csv", "prompts.jsonl"], "no checkpoint is left");

    const server = await startServer({ backend: "wasm", threads: 1, compressor: out });
    try {
      const ask = async (ratio: number) => {
        const picture = (await Deno.readFile(`${PICTURES}images/image-001.png`)).toBase64();
        const response = await fetch(`${server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({
            messages: [{
              role: "user",
              content: [
                { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } },
                { type: "text", text: "describe the picture" },
              ],
            }],
            max_completion_tokens: 4,
            kv_compression: { method: "learned", ratio },
          }),
        });
        return { status: response.status, body: await response.json() };
      };
      const { status, body } = await ask(0.8);
      assert.equal(status, 200, JSON.stringify(body));
      const { prompt_tokens: prompt, kv_compression: { kept_tokens: kept } } = body.usage;
      // 64 tokens of the picture make 12 and a rest of 4; the text before it is too short, the one behind may be too.
      assert(kept >= 16 && kept <= prompt - 48, `${kept} of ${prompt} kept`);
      const refused = await ask(0.9);
      assert.equal(refused.status, 400);
      assert.match(refused.body.error.message, /trained for: 0.5 \(2 to 1\), 0.8 \(5 to 1\)/);
      assert.equal(refused.body.error.param, "kv_compression.ratio");
    } finally {
      await server.close();
    }
  });
});

Deno.test("train-compressor trains factors of layers and kinds, and refuses as many as the model has no layers", async () => {
  const question = JSON.stringify({ images: ["images/image-002.png"], question: "describe the picture" });
  await withFolder({ "prompts.jsonl": question }, async (dir) => {
    const out = `${dir}/c.safetensors`;
    const run = (...factors: string[]) =>
      train(
        ...["--images", PICTURES, "--prompts", `${dir}/prompts.jsonl`, "--out", out, "--steps", "1"],
        ...["--factor", "5", ...factors],
      );
    const { code, said } = await run("--image-factors", "32,4,8,1,32", "--text-factors", "2,2,1,2,3");
    assert.equal(code, 0, said);
    const [{ factor, factors }, ...others] = openCompressor(out, { layers: 5, headDim: 32 })!;
    assert.deepEqual([factor, factors, others], [
      ...[5, { text: [2, 2, 1, 2, 3], image: [32, 4, 8, 1, 32] }, []],
    ]);
    const refused = await run("--image-factors", "32,4");
    assert.equal(refused.code, 2);
    assert.match(refused.said, /--image-factors has 2 numbers, this model 5 layers/);
    const small = await run("--image-factors", "4,4,4,4,4", "--text-factors", "2,2,2,2,2");
    assert.equal(small.code, 2);
    assert.match(small.said, /--factor 5 is out of reach: 2 to 4 become one/);
  });
});

Deno.test("train-compressor says what it lacks", async () => {
  const { code, said } = await train();
  assert.equal(code, 2);
  assert.match(said, /^error: --images is needed/m);
});
