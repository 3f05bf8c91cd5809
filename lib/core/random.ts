/** A source of randomness that tests can seed. */
export interface Random {
  /** A uniform 32-bit unsigned integer. */
  nextUint32(): number;
}

/** The operating system's generator. */
export const systemRandom: Random = {
  nextUint32: () => crypto.getRandomValues(new Uint32Array(1))[0],
};

/** SplitMix32 (Steele, Lea, Flood 2014, 32-bit finaliser): small, seeded, good enough for tests and simulation. */
export function seededRandom(seed: number): Random {
  // Signed, so that it stays a small integer and no number is allocated for it.
  let state = seed | 0;
  return {
    nextUint32() {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    },
  };
}

/** A uniform number in [0, 1). */
export function nextFloat(random: Random): number {
  return random.nextUint32() / 0x1_0000_0000;
}

/** `prefix` and 24 hexadecimal digits. */
export function randomId(random: Random, prefix: string): string {
  let text = prefix;
  for (let i = 0; i < 3; i++) text += random.nextUint32().toString(16).padStart(8, "0");
  return text;
}
