/** The only place where an error becomes a status, a type and a body. Nothing internal leaves through here. */
import { type ErrorCode, RequestError } from "../core/errors.ts";
import { log } from "../core/log.ts";

/** The client went away before its answer; nobody reads what is answered now. */
export class ClientGone extends Error {
  override name = "ClientGone";
}

/** What the access log says of a request whose client went away. It is never seen by a client. */
export const CLIENT_GONE_STATUS = 499;

interface Treatment {
  readonly status: number;
  readonly type: string;
  /** Whether the same request may succeed later; clients that retry by themselves read it from a header. */
  readonly retry: boolean;
}

const INVALID: Treatment = { status: 400, type: "invalid_request_error", retry: false };
const UNAVAILABLE: Treatment = { status: 503, type: "service_unavailable_error", retry: true };

const TREATMENT: Readonly<Record<ErrorCode, Treatment>> = {
  invalid_json: INVALID,
  invalid_type: INVALID,
  invalid_value: INVALID,
  missing_required_parameter: INVALID,
  unsupported_parameter: INVALID,
  unsupported_value: INVALID,
  context_length_exceeded: INVALID,
  invalid_image: INVALID,
  invalid_image_format: INVALID,
  invalid_base64_image: INVALID,
  invalid_image_url: INVALID,
  image_too_large: INVALID,
  image_too_small: INVALID,
  image_parse_error: INVALID,
  image_file_too_large: INVALID,
  unsupported_image_media_type: INVALID,
  empty_image_file: INVALID,
  failed_to_download_image: INVALID,
  invalid_api_key: { ...INVALID, status: 401 },
  media_not_allowed: { status: 403, type: "permission_error", retry: false },
  model_not_found: { ...INVALID, status: 404 },
  not_found: { ...INVALID, status: 404 },
  method_not_allowed: { ...INVALID, status: 405 },
  unsupported_media_type: { ...INVALID, status: 415 },
  payload_too_large: { ...INVALID, status: 413 },
  rate_limit_exceeded: { status: 429, type: "rate_limit_error", retry: true },
  queue_timeout: UNAVAILABLE,
  reader_timeout: { status: 408, type: "invalid_request_error", retry: true },
  loading: UNAVAILABLE,
  draining: UNAVAILABLE,
  engine_failed: { status: 500, type: "server_error", retry: true },
  internal_error: { status: 500, type: "server_error", retry: false },
};

/** Seconds after which a refused client may come again when the error itself does not say. */
const RETRY_AFTER_SECONDS = 1;

/** The body of every error, as OpenAI's clients read it. */
interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: ErrorCode;
  };
}

/** Any thrown value as an error that a client may see; what is not one is logged and answered in general words. */
export function asRequestError(thrown: unknown): RequestError {
  if (thrown instanceof RequestError) return thrown;
  log.error("unexpected_error", {
    message: thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown),
  });
  return new RequestError("internal_error", "The server made a mistake and could not answer.");
}

export function errorBody(error: RequestError): ErrorBody {
  const { message, param, code } = error;
  return { error: { message, type: TREATMENT[code].type, param, code } };
}

/** The whole answer to a request that is refused or has failed before anything was sent. */
export function errorResponse(error: RequestError): Response {
  const { status, retry } = TREATMENT[error.code];
  const headers = new Headers({ "x-should-retry": String(retry) });
  if (status === 401) headers.set("www-authenticate", "Bearer");
  if (status === 429 || status === 503) {
    headers.set(
      "retry-after",
      String(Math.max(1, Math.ceil(error.retryAfterSeconds ?? RETRY_AFTER_SECONDS))),
    );
  }
  return Response.json(errorBody(error), { status, headers });
}
