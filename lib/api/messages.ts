/** Chat messages: roles, parts and pictures, checked one at a time and in order. */
import { RequestError } from "../core/errors.ts";
import { IMAGES_PER_REQUEST_MAX, MESSAGES_MAX, PROMPT_CHARACTERS_MAX } from "../core/limits.ts";
import type { ChatMessage, ContentPart } from "../../scheduler/messages.ts";
import type { ImageSource } from "./images.ts";
import { type FieldPath, fieldPath, invalidType, invalidValue, missing, read } from "./problem.ts";
import { imagePartFields, messageFields, partFields, textPartFields } from "./schema.ts";

/** Parts of one request. A picture and its question are two; nothing sensible comes near. */
const PARTS_MAX = MESSAGES_MAX;

const ROLES: Readonly<Record<string, string>> = {
  developer: "system",
  system: "system",
  user: "user",
  assistant: "assistant",
};
const UNSUPPORTED_ROLES: ReadonlySet<string> = new Set(["tool", "function"]);
const UNSUPPORTED_PARTS: ReadonlySet<string> = new Set([
  "input_audio",
  "audio_url",
  "video_url",
  "video",
  "file",
  "refusal",
]);

function unsupportedValue(param: string, value: string): RequestError {
  return new RequestError(
    "unsupported_value",
    `Unsupported value: '${param}' does not support '${value}'.`,
    param,
  );
}

/** What all messages of one request have used of its bounds. */
class Allowance {
  #characters = 0;
  #parts = 0;
  #images = 0;

  /** Throws RequestError context_length_exceeded. */
  takeText(text: string): void {
    this.#characters += text.length;
    if (this.#characters > PROMPT_CHARACTERS_MAX) {
      throw new RequestError(
        "context_length_exceeded",
        `The messages have more than ${PROMPT_CHARACTERS_MAX} characters.`,
        "messages",
      );
    }
  }

  takeParts(count: number, param: string): void {
    this.#parts += count;
    if (this.#parts > PARTS_MAX) {
      throw invalidValue(param, `the messages have more than ${PARTS_MAX} parts`);
    }
  }

  takeImage(param: string): void {
    this.#images++;
    if (this.#images > IMAGES_PER_REQUEST_MAX) {
      throw invalidValue(param, `at most ${IMAGES_PER_REQUEST_MAX} pictures are allowed`);
    }
  }
}

function roleOf(role: string, param: string): string {
  if (UNSUPPORTED_ROLES.has(role)) throw unsupportedValue(param, role);
  if (!Object.hasOwn(ROLES, role)) {
    throw invalidValue(param, `must be one of ${Object.keys(ROLES).join(", ")}`);
  }
  return ROLES[role];
}

async function readPart(
  value: unknown,
  path: FieldPath,
  role: string,
  allowance: Allowance,
  images: ImageSource,
): Promise<ContentPart> {
  const { type } = read(partFields, value, path);
  switch (type) {
    case "text":
    case "input_text": {
      const { text } = read(textPartFields, value, path);
      allowance.takeText(text);
      return { type: "text", text };
    }
    case "image_url":
    case "input_image": {
      const { image_url: image } = read(imagePartFields, value, path);
      const param = fieldPath([...path, "image_url", ...(typeof image === "string" ? [] : ["url"])]);
      if (role !== "user") throw invalidValue(param, "pictures are allowed in user messages only");
      allowance.takeImage(param);
      return {
        type: "image",
        bytes: await images(typeof image === "string" ? image : image.url, param),
        param,
      };
    }
    default: {
      const param = fieldPath([...path, "type"]);
      if (UNSUPPORTED_PARTS.has(type)) throw unsupportedValue(param, type);
      throw invalidValue(param, "must be one of text, image_url");
    }
  }
}

async function readMessage(
  value: unknown,
  path: FieldPath,
  allowance: Allowance,
  images: ImageSource,
): Promise<ChatMessage> {
  const message = read(messageFields, value, path);
  const role = roleOf(message.role, fieldPath([...path, "role"]));
  for (const field of ["tool_calls", "function_call"] as const) {
    const calls = message[field];
    if (calls === null || calls === undefined || (Array.isArray(calls) && calls.length === 0)) continue;
    const param = fieldPath([...path, field]);
    throw new RequestError("unsupported_parameter", `Unsupported parameter: '${param}'.`, param);
  }
  const { content } = message;
  const contentPath = [...path, "content"];
  const param = fieldPath(contentPath);
  if (content === null || content === undefined) throw missing(param);
  if (typeof content === "string") {
    allowance.takeText(content);
    return { role, content };
  }
  if (!Array.isArray(content)) throw invalidType(param, "a string or an array of parts", content);
  if (content.length === 0) throw invalidValue(param, "it must have at least one part");
  allowance.takeParts(content.length, param);
  const parts: ContentPart[] = [];
  for (const [index, part] of content.entries()) {
    parts.push(await readPart(part, [...contentPath, index], role, allowance, images));
  }
  return { role, content: parts };
}

/** Throws RequestError for the first problem; `images` gives the bytes of each picture. */
export async function readMessages(value: unknown, images: ImageSource): Promise<readonly ChatMessage[]> {
  if (value === null || value === undefined) throw missing("messages");
  if (!Array.isArray(value)) throw invalidType("messages", "an array", value);
  if (value.length === 0) throw invalidValue("messages", "at least one message is required");
  if (value.length > MESSAGES_MAX) throw invalidValue("messages", `at most ${MESSAGES_MAX} are allowed`);
  const allowance = new Allowance();
  const messages: ChatMessage[] = [];
  for (const [index, message] of value.entries()) {
    messages.push(await readMessage(message, ["messages", index], allowance, images));
  }
  return messages;
}
