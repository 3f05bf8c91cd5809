/**
 * Errors that the caller or the world causes. `code` is what a client sees in `error.code`;
 * `lib/api/errors.ts` alone maps it to a status. Our own mistakes are assertions instead.
 */
export type ErrorCode =
  | "invalid_json"
  | "invalid_type"
  | "invalid_value"
  | "missing_required_parameter"
  | "unsupported_parameter"
  | "unsupported_value"
  | "context_length_exceeded"
  | "invalid_image"
  | "invalid_image_format"
  | "invalid_base64_image"
  | "invalid_image_url"
  | "image_too_large"
  | "image_too_small"
  | "image_parse_error"
  | "image_file_too_large"
  | "unsupported_image_media_type"
  | "empty_image_file"
  | "failed_to_download_image"
  | "invalid_api_key"
  | "media_not_allowed"
  | "model_not_found"
  | "not_found"
  | "method_not_allowed"
  | "unsupported_media_type"
  | "payload_too_large"
  | "rate_limit_exceeded"
  | "queue_timeout"
  | "reader_timeout"
  | "loading"
  | "draining"
  | "engine_failed"
  | "internal_error";

/** A request that is refused or fails. `param` is the body's field path, e.g. `messages[0].content[1].image_url.url`. */
export class RequestError extends Error {
  override name = "RequestError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly param: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

/** The program cannot start (bad model directory, no adapter): one message, exit code 1. */
export class StartError extends Error {
  override name = "StartError";
}

/** The command line or an environment twin is wrong: one line, exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}
