import assert from "node:assert/strict";
import { scriptedApp } from "../../support/scripted_scheduler.ts";

const BODIES = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "x" }] },
  "/v1/completions": { prompt: "x" },
} as const;
type Path = keyof typeof BODIES;

/** Field, a value that would change the answer, a value that would not. */
const BOTH: readonly (readonly [string, unknown, unknown])[] = [
  ["n", 2, 1],
  ["best_of", 2, 1],
  ["use_beam_search", true, false],
  ["frequency_penalty", 0.5, 0],
  ["presence_penalty", -0.5, 0],
  ["repetition_penalty", 1.1, 1],
  ["logit_bias", { "5": 1 }, {}],
  ["allowed_token_ids", [1], null],
  ["bad_words", ["no"], []],
  ["response_format", { type: "json_object" }, { type: "text" }],
  ["structured_outputs", { regex: "a" }, {}],
  ["guided_json", {}, null],
  ["guided_regex", "a", null],
  ["guided_choice", ["a"], null],
  ["guided_grammar", "a", null],
  ["min_tokens", 1, 0],
  ["stop_token_ids", [1], []],
  ["prompt_logprobs", 1, null],
  ["skip_special_tokens", false, true],
  ["include_stop_str_in_output", true, false],
  ["truncate_prompt_tokens", 5, null],
  ["echo", true, false],
];

const CHAT: typeof BOTH = [
  ["tools", [{ type: "function", function: { name: "f" } }], []],
  ["tool_choice", "auto", "none"],
  ["functions", [{ name: "f" }], []],
  ["function_call", "auto", "none"],
  ["audio", { voice: "x" }, null],
  ["modalities", ["text", "audio"], ["text"]],
  ["chat_template", "{{ x }}", null],
  ["chat_template_kwargs", { a: 1 }, {}],
  ["add_generation_prompt", false, true],
  ["continue_final_message", true, false],
  ["documents", [{}], []],
];

const COMPLETION: typeof BOTH = [["suffix", "end", ""]];

const CASES: readonly (readonly [Path, typeof BOTH])[] = [
  ["/v1/chat/completions", [...BOTH, ...CHAT]],
  ["/v1/completions", [...BOTH, ...COMPLETION]],
];

for (const [path, fields] of CASES) {
  Deno.test(`unsupported: ${path} refuses by name what would change the answer, and only that`, async () => {
    const { post } = scriptedApp();
    for (const [field, loud, neutral] of fields) {
      const refused = await post(path, { ...BODIES[path], [field]: loud });
      assert.equal(refused.status, 400, field);
      const { error } = await refused.json();
      assert.equal(error.code, "unsupported_parameter", field);
      assert.equal(error.param, field);
      for (const value of [neutral, null]) {
        const taken = await post(path, { ...BODIES[path], [field]: value });
        assert.equal(taken.status, 200, `${field}: ${JSON.stringify(value)}`);
        await taken.body?.cancel();
      }
    }
  });
}

Deno.test("unsupported: fields that nobody knows are ignored", async () => {
  const { post } = scriptedApp();
  const response = await post("/v1/chat/completions", {
    ...BODIES["/v1/chat/completions"],
    user: "u",
    metadata: { a: "b" },
    store: true,
    service_tier: "auto",
    parallel_tool_calls: true,
    frobnicate: [1, 2, 3],
    constructor: 1,
    toString: 2,
  });
  assert.equal(response.status, 200);
});
