/**
 * What the single binary holds beside the modules that main.ts imports: everything that the program opens by name.
 * tests/e2e/compile_test.ts runs the server and fails when it opens anything else.
 */

/** Entry points of workers: no import names them. Their own imports come with them. */
export const WORKER_MODULES = [
  "lib/cli/adapter_worker.ts",
  "lib/engine/worker.ts",
  "lib/image/worker.ts",
  "lib/wasm/helper.ts",
] as const;

/** The default model and the questions that `eval` asks it. A folder stands for everything in it. */
export const ASSETS = [
  "deploy/model/chat_template.jinja",
  "deploy/model/compressor.safetensors",
  "deploy/model/config.json",
  "deploy/model/generation_config.json",
  "deploy/model/model.safetensors",
  "deploy/model/preprocessor_config.json",
  "deploy/model/processor_config.json",
  "deploy/model/special_tokens_map.json",
  "deploy/model/tokenizer.json",
  "deploy/model/tokenizer_config.json",
  "deploy/eval-set",
] as const;

/** Arguments of `deno` that write the binary to `output`, without the folders `excluded`, run from the project's folder. */
export function compileArguments(output: string, excluded: readonly string[]): string[] {
  const paths = [
    ...[...WORKER_MODULES, ...ASSETS].flatMap((path) => ["--include", path]),
    ...excluded.flatMap((path) => ["--exclude", path]),
  ];
  return ["compile", "-A", "--no-prompt", "--exclude-unused-npm", ...paths, "--output", output, "main.ts"];
}
