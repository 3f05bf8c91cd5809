import { lookup } from "node:dns/promises";
import { type Clock, systemClock } from "../core/clock.ts";
import { RequestError } from "../core/errors.ts";
import { IMAGE_FILE_BYTES_MAX } from "../core/limits.ts";
import { isAddressLiteral, isPrivateAddress } from "./address.ts";

export interface FetchOptions {
  /**
   * Host names that pictures may be fetched from, without ports. A name that leads to a private address is refused all
   * the same; only an address literal or `localhost` in this list says that a private one is meant.
   */
  readonly allowedHosts: readonly string[];
  readonly timeoutMs: number;
  /** Ends the download early, e.g. when the client is gone. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Addresses of a host name; the system's resolver by default. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

const REDIRECTS_MAX = 3;

/**
 * Downloads a picture file from an allowed host. Redirects are followed on the same host only.
 *
 * Name and address are checked before the connection, which resolves the name once more: a host that is allowed is
 * trusted not to change its address in between. Throws RequestError with `param`: `invalid_image_url`,
 * `media_not_allowed`, `image_file_too_large`, `empty_image_file`, `failed_to_download_image`.
 */
export async function fetchImage(
  address: string,
  param: string,
  options: FetchOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  let url = parseUrl(address, param);
  const late = new AbortController();
  const cancelTimer = (options.clock ?? systemClock).after(options.timeoutMs, () => late.abort());
  const signal = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal;
  try {
    await checkHost(url, param, options, signal);
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      signal.throwIfAborted();
      const response = await fetch(url, { redirect: "manual", signal, headers: { accept: "image/*" } });
      if (response.status < 300 || response.status >= 400) return await readBody(response, param);
      url = await redirected(url, response, param);
    }
    throw failed("too many redirects", param);
  } catch (error) {
    if (error instanceof RequestError) throw error;
    options.signal?.throwIfAborted();
    throw failed(late.signal.aborted ? "it took too long" : "the host could not be reached", param);
  } finally {
    cancelTimer();
  }
}

function failed(detail: string, param: string): RequestError {
  return new RequestError("failed_to_download_image", `The image could not be downloaded: ${detail}.`, param);
}

function parseUrl(address: string, param: string): URL {
  const url = URL.parse(address);
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new RequestError("invalid_image_url", "The image URL is neither a data URL nor http(s).", param);
  }
  if (url.username || url.password) {
    throw new RequestError("invalid_image_url", "The image URL must not contain credentials.", param);
  }
  return url;
}

async function checkHost(
  url: URL,
  param: string,
  { allowedHosts, resolve = systemResolve }: FetchOptions,
  signal: AbortSignal,
): Promise<void> {
  const host = bareHost(url.hostname);
  if (!allowedHosts.some((allowed) => bareHost(allowed) === host)) {
    throw new RequestError("media_not_allowed", "Images may not be fetched from this host.", param);
  }
  if (host === "localhost" || isAddressLiteral(host)) return; // named by the operator as such
  const addresses = await Promise.race([resolve(host), aborted(signal)]);
  if (addresses.length === 0 || addresses.some(isPrivateAddress)) {
    throw new RequestError("media_not_allowed", "Images may not be fetched from this host.", param);
  }
}

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** Rejects when `signal` aborts; a name's lookup cannot be ended, only left behind. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Lower case, without brackets or the root's dot, so that two spellings of a host compare equal. */
function bareHost(host: string): string {
  return host.toLowerCase().replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
}

async function redirected(from: URL, response: Response, param: string): Promise<URL> {
  await response.body?.cancel();
  const location = response.headers.get("location");
  const to = location === null ? null : URL.parse(location, from);
  if (!to) throw failed(`the host answered ${response.status}`, param);
  if (parseUrl(to.href, param).host !== from.host) {
    throw new RequestError("media_not_allowed", "The image URL leads to another host.", param);
  }
  return to;
}

/** At most IMAGE_FILE_BYTES_MAX bytes, whatever length the host announces. */
async function readBody(response: Response, param: string): Promise<Uint8Array<ArrayBuffer>> {
  if (!response.ok) {
    await response.body?.cancel();
    throw failed(`the host answered ${response.status}`, param);
  }
  if (Number(response.headers.get("content-length") ?? 0) > IMAGE_FILE_BYTES_MAX) {
    await response.body?.cancel();
    throw tooLarge(param);
  }
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > IMAGE_FILE_BYTES_MAX) throw tooLarge(param); // leaving the loop cancels the body
    chunks.push(chunk);
  }
  if (length === 0) throw new RequestError("empty_image_file", "The image file is empty.", param);
  const file = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
}

function tooLarge(param: string): RequestError {
  return new RequestError(
    "image_file_too_large",
    `The image file is too large: at most ${IMAGE_FILE_BYTES_MAX} bytes are allowed.`,
    param,
  );
}
