/** Bytes of a file, by range. */
import { StartError } from "../core/errors.ts";

export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** A fresh array of exactly `bytes` bytes from `first` on. Throws StartError when they are not there. */
  read(first: number, bytes: number): Uint8Array<ArrayBuffer>;
}

/**
 * A file on disk or inside a compiled program. It is opened for each read and closed again, so nobody has to close it
 * later; beside reads of megabytes that costs nothing. Returns null when there is no such file.
 */
export function openFile(path: string): ByteSource | null {
  let size: number;
  try {
    size = Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw unreadable(path, error);
  }
  return { name: path, size, read: (first, bytes) => readRange(path, first, bytes) };
}

function readRange(path: string, first: number, bytes: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes);
  let filled = 0;
  try {
    using file = Deno.openSync(path);
    file.seekSync(first, Deno.SeekMode.Start);
    while (filled < bytes) {
      const count = file.readSync(out.subarray(filled));
      if (count === null) break;
      filled += count;
    }
  } catch (error) {
    throw unreadable(path, error);
  }
  if (filled < bytes) {
    throw new StartError(
      `${path} is truncated: expected ${bytes} bytes from byte ${first} on, found ${filled}`,
    );
  }
  return out;
}

function unreadable(path: string, error: unknown): StartError {
  return new StartError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
}
