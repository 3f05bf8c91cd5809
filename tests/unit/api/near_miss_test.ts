import assert from "node:assert/strict";
import { FIELD_NAMES_COMPARED_MAX } from "../../../lib/core/limits.ts";
import { scriptedApp } from "../../support/scripted_scheduler.ts";

const BODIES = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "x" }] },
  "/v1/completions": { prompt: "x" },
} as const;

/** The slip, and the field that was meant. */
const SLIPS = {
  "kv_compresion": "kv_compression",
  "kv-compression": "kv_compression",
  "kvCompression": "kv_compression",
  "kv_compress": "kv_compression",
  "max_token": "max_tokens",
  "maxTokens": "max_tokens",
  "max-completion-tokens": "max_completion_tokens",
  "tempreature": "temperature",
  "top-k": "top_k",
  "topP": "top_p",
  "Seed": "seed",
  "stram": "stream",
  "ignore_oes": "ignore_eos",
  "return_token_id": "return_token_ids",
  "cachesalt": "cache_salt",
  "piority": "priority",
  "reponse_format": "response_format",
};

Deno.test("refuseNearMisses names the field and the one that was meant, on both endpoints", async () => {
  const { post } = scriptedApp();
  for (const [path, body] of Object.entries(BODIES)) {
    for (const [slip, meant] of Object.entries(SLIPS)) {
      const response = await post(path, { ...body, [slip]: 5 });
      assert.equal(response.status, 400, slip);
      const { error } = await response.json();
      assert.deepEqual([error.code, error.param], ["unsupported_parameter", slip]);
      assert.equal(error.message, `Unknown parameter: '${slip}'. Did you mean '${meant}'?`);
    }
  }
});

/** Of OpenAI, vLLM, llama-server, SGLang, TGI, Ollama, and of services that pass requests on. */
const OF_OTHERS = `
  user metadata store service_tier parallel_tool_calls prediction reasoning_effort verbosity prompt_cache_key
  prompt_cache_retention safety_identifier moderation input instructions previous_response_id truncation include
  length_penalty spaces_between_special_tokens request_id kv_transfer_params vllm_xargs structural_tag
  guided_decoding_backend guided_whitespace_pattern max_pixels min_pixels truncation_side bad_words_ids
  include_reasoning thinking_token_budget repetition_detection data_parallel_rank
  n_predict n_keep n_discard n_indent n_probs n_cmpl cache_prompt id_slot timings_per_token return_progress
  message_id split_special_tokens generation_prompt mirostat_lr document
  return_tokens t_max_predict_ms t_max_prompt_ms min_keep samplers top_n_sigma tfs_z mirostat_tau mirostat_eta
  repeat_last_n dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers xtc_threshold
  dynatemp_exponent penalize_nl lora post_sampling_probs image_data multimodal_data reasoning_format
  thinking_forced_open enable_thinking parse_tool_calls response_fields input_prefix input_suffix input_extra
  regex ebnf separate_reasoning stream_reasoning no_stop_trim lora_path session_params return_hidden_states rid
  stop_regex custom_logit_processor bootstrap_host bootstrap_port bootstrap_room return_routed_experts
  top_logprobs_num logprob_start_len return_text_in_logprobs sampling_params ignore_images
  do_sample max_new_tokens top_n_tokens watermark adapter_id return_full_text decoder_input_details details
  best num_beams early_stopping no_repeat_ngram_size max_length min_length
  options format keep_alive think raw template system context images num_ctx num_predict
  models provider providers transforms route plugins reasoning usage top_a min_k preset debug
  safe_prompt random_seed prompt_mode document_image_limit search_parameters
  prompt_truncate_len context_length_exceeded_behavior perf_metrics_in_response raw_output
  fallbacks tags timeout num_retries api_key base_url extra_body extra_headers custom_llm_provider caching
  draft_model speculative ttl conversation session_id thread_id stream_chunk_size continuous_usage_stats
`.trim().split(/\s+/);

Deno.test("refuseNearMisses leaves fields of other servers alone, and names without any value", async () => {
  const { post } = scriptedApp();
  const silent = Object.fromEntries(Object.keys(SLIPS).map((slip) => [slip, null]));
  for (const [path, body] of Object.entries(BODIES)) {
    for (const field of OF_OTHERS) {
      const response = await post(path, { ...body, ...silent, [field]: 1 });
      assert.equal(response.status, 200, `${field}: ${await response.text()}`);
    }
  }
});

Deno.test("refuseNearMisses looks at so many fields and no more", async () => {
  const { post } = scriptedApp();
  const others = (count: number) => Array.from({ length: count }, (_, i) => [`zzzzzz${i}`, i]);
  const statusWith = async (count: number) => {
    const fields = Object.fromEntries(others(count));
    return (await post("/v1/completions", { ...BODIES["/v1/completions"], ...fields, max_token: 1 })).status;
  };
  assert.equal(await statusWith(FIELD_NAMES_COMPARED_MAX - 1), 400);
  assert.equal(await statusWith(FIELD_NAMES_COMPARED_MAX), 200);
});
