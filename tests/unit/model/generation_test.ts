import { deepEqual, throws } from "node:assert/strict";
import { readGeneration } from "../../../lib/model/generation.ts";
import { JsonObject } from "../../../lib/model/json.ts";

function read(fields: Record<string, unknown>) {
  return readGeneration(new JsonObject("generation_config.json", fields));
}

const PLAIN = { temperature: 1, topP: 1, topK: 0, minP: 0, maxNewTokens: null };

Deno.test("readGeneration switches everything off where there is no file or it says nothing", () => {
  deepEqual(readGeneration(null), { eosTokenIds: null, defaults: PLAIN });
  deepEqual(read({ bos_token_id: 1 }), { eosTokenIds: null, defaults: PLAIN });
});

Deno.test("readGeneration reads one end token or several", () => {
  deepEqual(read({ eos_token_id: 2 }).eosTokenIds, [2]);
  deepEqual(read({ eos_token_id: [128001, 128009] }).eosTokenIds, [128001, 128009]);
});

Deno.test("readGeneration reads the sampling that a model recommends", () => {
  const fields = {
    do_sample: true,
    temperature: 0.6,
    top_p: 0.9,
    top_k: 20,
    min_p: 0.05,
    max_new_tokens: 96,
  };
  deepEqual(read(fields).defaults, { temperature: 0.6, topP: 0.9, topK: 20, minP: 0.05, maxNewTokens: 96 });
});

Deno.test("readGeneration makes a model greedy that says it does not sample", () => {
  deepEqual(read({ do_sample: false, temperature: 0.7 }).defaults, { ...PLAIN, temperature: 0 });
});

for (
  const fields of [{ temperature: -1 }, { top_p: 1.5 }, { min_p: 2 }, { top_k: -1 }, { max_new_tokens: 0 }, {
    eos_token_id: "</s>",
  }]
) {
  Deno.test(`readGeneration refuses ${JSON.stringify(fields)}`, () => {
    const [key] = Object.keys(fields);
    throws(() => read(fields), {
      name: "StartError",
      message: new RegExp(`^generation_config\\.json: ${key} must be`),
    });
  });
}
