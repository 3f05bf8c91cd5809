/** Pictures between their file and the tower. */

/** A decoded picture: 8-bit RGB, rows from the top, three bytes a pixel; EXIF orientation applied, alpha dropped. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** What a file's header says before anything is decoded. */
export interface PictureHeader {
  readonly format: "png" | "jpeg" | "webp" | "gif";
  /** After EXIF rotation. */
  readonly width: number;
  readonly height: number;
}

/** A picture as its tower takes it. */
export interface PreparedImage {
  /** Normalised values [3, height, width]. */
  readonly pixels: Float32Array;
  readonly height: number;
  readonly width: number;
}

/** How a model wants its pictures, from `preprocessor_config.json` or `processor_config.json`. */
export interface ImageProcessorConfig {
  readonly family: "clip" | "siglip";
  /** `shortest_edge`, or both sides. null does not resize. */
  readonly resize:
    | { readonly shortestEdge: number }
    | { readonly height: number; readonly width: number }
    | null;
  readonly resample: "nearest" | "lanczos" | "bilinear" | "bicubic" | "box" | "hamming";
  readonly crop: { readonly height: number; readonly width: number } | null;
  /** Multiplier of the 8-bit value, 1/255 in practice; null does not rescale. */
  readonly rescaleFactor: number | null;
  readonly mean: readonly number[] | null;
  readonly std: readonly number[] | null;
}

/** Turns picture files into tower input, away from the caller's thread. Throws RequestError for a bad picture. */
export interface ImagePreparer {
  /** Reads the header only: format, size, limits. Throws RequestError with `param`. */
  inspect(bytes: Uint8Array, param: string): PictureHeader;
  prepare(bytes: Uint8Array, param: string): Promise<PreparedImage>;
  close(): Promise<void>;
}
