/** Text and pictures without a model: one token a character, one feature pattern a picture. */
import { RequestError } from "../../lib/core/errors.ts";
import type { ImagePreparer, PictureHeader, PreparedImage } from "../../lib/image/image.ts";
import type { Detokenizer, TemplateMessage, TextProcessor } from "../../lib/text/text.ts";

export const EOS_ID = 1;
export const IMAGE_ID = 2;
const IMAGE_MARK = "\u0001";
const FIRST_CHARACTER = 48;

/** The text of one token. */
export function characterOf(id: number): string {
  return id === EOS_ID ? "" : String.fromCharCode(FIRST_CHARACTER + id);
}

export class ScriptedText implements TextProcessor {
  readonly size = 64;

  render(messages: readonly TemplateMessage[]): string {
    return messages.map(({ content }) =>
      typeof content === "string"
        ? content
        : content.map((part) => part.type === "image" ? IMAGE_MARK : part.text).join("")
    ).join("");
  }

  encode(text: string, _mode: "chat" | "plain", imageTokens: readonly number[]): number[] {
    let picture = 0;
    return [...text].flatMap((character) =>
      character === IMAGE_MARK
        ? new Array<number>(imageTokens[picture++]).fill(IMAGE_ID)
        : [character.charCodeAt(0) - FIRST_CHARACTER]
    );
  }

  countImages(text: string): number {
    return text.split(IMAGE_MARK).length - 1;
  }

  tokenBytes(id: number): Uint8Array {
    return new TextEncoder().encode(characterOf(id));
  }

  isSpecial(id: number): boolean {
    return id === EOS_ID;
  }

  decode(ids: readonly number[]): string {
    return ids.map(characterOf).join("");
  }

  detokenizer(): Detokenizer {
    return { push: characterOf, finish: () => "" };
  }
}

/** First byte of a file whose header is refused, and of one that turns out broken when it is decoded. */
export const BAD_HEADER = 0xff;
export const BAD_PIXELS = 0xfe;

export class ScriptedImages implements ImagePreparer {
  /** Pictures being decoded. */
  preparing = 0;
  /** Pictures decoded so far. */
  prepared = 0;

  constructor(private readonly delay: () => Promise<void> = () => Promise.resolve()) {}

  inspect(bytes: Uint8Array, param: string): PictureHeader {
    if (bytes[0] === BAD_HEADER) throw new RequestError("invalid_image_format", "Not a picture.", param);
    return { format: "png", width: 1, height: 1 };
  }

  async prepare(bytes: Uint8Array, param: string): Promise<PreparedImage> {
    this.preparing++;
    await this.delay();
    this.preparing--;
    if (bytes[0] === BAD_PIXELS) throw new RequestError("image_parse_error", "A broken picture.", param);
    this.prepared++;
    return { pixels: pixelsOf(bytes), height: 1, width: 1 };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export function pixelsOf(bytes: Uint8Array): Float32Array {
  return Float32Array.from(bytes);
}
