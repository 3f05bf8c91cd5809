/** `GET /v1/models` and `GET /v1/models/:id`: OpenAI's fields, and those that vLLM and llama-server add. */
import { RequestError } from "../core/errors.ts";
import type { ServedModel } from "./service.ts";

function card(model: ServedModel) {
  return {
    id: model.name,
    object: "model",
    created: model.created,
    owned_by: "fastcache",
    root: model.root,
    parent: null,
    max_model_len: model.maxModelLen,
    modalities: model.modalities,
    architecture: { input_modalities: model.modalities, output_modalities: ["text"] },
  };
}

export function listModels(model: ServedModel): Response {
  return Response.json({ object: "list", data: [card(model)] });
}

/** Throws RequestError model_not_found. */
export function showModel(model: ServedModel, id: string): Response {
  requireModel(model, id, null);
  return Response.json(card(model));
}

/** Throws RequestError model_not_found unless `name` is the served model; absent names it too. */
export function requireModel(
  model: ServedModel,
  name: string | null | undefined,
  param: string | null,
): void {
  if (name === null || name === undefined || name === model.name) return;
  throw new RequestError(
    "model_not_found",
    `The model '${name.slice(0, 200)}' does not exist; this server has '${model.name}'.`,
    param,
  );
}
