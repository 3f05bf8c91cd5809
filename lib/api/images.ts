/** Where the bytes of a picture in a request come from. */
import { IMAGE_DOWNLOAD_MS_MAX } from "../core/limits.ts";
import { decodeDataUrl, isDataUrl } from "../image/data_url.ts";
import { fetchImage } from "../image/fetch.ts";

/** The file that `url` names. `param` is its field path. Throws RequestError. */
export type ImageSource = (url: string, param: string) => Promise<Uint8Array>;

/** `data:` URLs are always read; any other only from `allowedHosts`. Aborting `signal` ends a download. */
export function imageSource(allowedHosts: readonly string[], signal: AbortSignal): ImageSource {
  const options = { allowedHosts, signal, timeoutMs: IMAGE_DOWNLOAD_MS_MAX };
  return async (url, param) =>
    isDataUrl(url) ? decodeDataUrl(url, param) : await fetchImage(url, param, options);
}
