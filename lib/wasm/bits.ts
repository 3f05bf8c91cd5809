/** f32 values as words of a recorded operation, and back. */
const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

export function bitsOf(value: number): number {
  floats[0] = value;
  return words[0];
}

export function floatOf(bits: number): number {
  words[0] = bits;
  return floats[0];
}
