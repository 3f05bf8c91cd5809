import { parseError } from "./parse_error.ts";

const CODES_MAX = 4096; // 12 bits

/**
 * GIF's LZW: `count` palette indices from variable-length codes, least significant bit first.
 * Throws RequestError `image_parse_error` for an impossible code or if the codes end before `count` indices.
 */
export function expandLzw(codes: Uint8Array, codeBits: number, count: number): Uint8Array {
  if (!(codeBits >= 1 && codeBits <= 8)) throw parseError("the GIF's code size is impossible");
  const clear = 1 << codeBits;
  const end = clear + 1;
  // A code above `end` is the string of `prefix` plus one index, `suffix`; `first` and `length` are of the whole string.
  const prefix = new Uint16Array(CODES_MAX);
  const suffix = new Uint8Array(CODES_MAX);
  const first = new Uint8Array(CODES_MAX);
  const length = new Uint16Array(CODES_MAX);
  for (let code = 0; code < clear; code++) {
    suffix[code] = first[code] = code;
    length[code] = 1;
  }

  const indices = new Uint8Array(count);
  let filled = 0;
  let next = end + 1;
  let bits = codeBits + 1;
  let previous = -1;
  let window = 0;
  let windowBits = 0;
  for (let at = 0; filled < count;) {
    while (windowBits < bits && at < codes.length) {
      window |= codes[at++] << windowBits;
      windowBits += 8;
    }
    if (windowBits < bits) throw parseError("the GIF has too few pixels");
    const code = window & ((1 << bits) - 1);
    window >>>= bits;
    windowBits -= bits;

    if (code === clear) {
      next = end + 1;
      bits = codeBits + 1;
      previous = -1;
      continue;
    }
    if (code === end) throw parseError("the GIF has too few pixels");
    if (code > next || (code === next && previous < 0)) throw parseError("the GIF has an impossible code");
    if (previous >= 0 && next < CODES_MAX) {
      prefix[next] = previous;
      suffix[next] = first[code === next ? previous : code];
      first[next] = first[previous];
      length[next] = length[previous] + 1;
      next++;
      if (next === 1 << bits && bits < 12) bits++;
    }
    // Strings are written from their last index to their first; what exceeds the picture is not written.
    let string = code;
    for (let i = filled + length[code] - 1; i >= filled; i--) {
      indices[i] = suffix[string];
      string = prefix[string];
    }
    filled += length[code];
    previous = code;
  }
  return indices;
}
