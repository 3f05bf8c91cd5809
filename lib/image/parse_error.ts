import { RequestError } from "../core/errors.ts";

/** The refusal of a file that is broken, truncated or contradicts itself; `detail` is a clause without a full stop. */
export function parseError(detail: string): RequestError {
  return new RequestError("image_parse_error", `The image could not be decoded: ${detail}.`);
}
