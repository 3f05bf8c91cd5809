/** Ids to text as they come. */
import type { Detokenizer } from "./text.ts";
import type { TokenBytes } from "./token_bytes.ts";

/** Where a detokenizer looks its tokens up. */
export interface TokenTexts {
  /** undefined for an id that no token has. */
  token(id: number): string | undefined;
  isSpecial(id: number): boolean;
  readonly bytes: TokenBytes;
}

const SPACE = 0x20;
const NOTHING = new Uint8Array(0);

/**
 * Characters are emitted when their last byte is there; special tokens and ids without a token add nothing. A byte
 * that belongs to no character becomes U+FFFD, alone: transformers throws away a whole run of byte tokens that has one
 * such byte in it, also its good characters, which a stream could not take back.
 */
export class StreamingDetokenizer implements Detokenizer {
  // A byte order mark in a completion is a character like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #first = true;
  #leadingSpaces: number;

  constructor(private readonly texts: TokenTexts) {
    this.#leadingSpaces = texts.bytes.leadingSpaces;
  }

  push(id: number): string {
    return this.#decoder.decode(this.#bytes(id), { stream: true });
  }

  finish(): string {
    return this.#decoder.decode();
  }

  #bytes(id: number): Uint8Array {
    const token = this.texts.token(id);
    if (token === undefined || this.texts.isSpecial(id)) return NOTHING;
    const bytes = this.texts.bytes.of(token, this.#first);
    this.#first = false;
    let start = 0;
    while (this.#leadingSpaces > 0 && start < bytes.length) {
      if (bytes[start] === SPACE) {
        start++;
        this.#leadingSpaces--;
      } else this.#leadingSpaces = 0;
    }
    return bytes.subarray(start);
  }
}
