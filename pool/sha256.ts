/**
 * The compression function of SHA-256 (FIPS 180-4, section 6.2.2) on a running state. The chain of page keys needs the
 * state after every page: one call per 64 bytes, where a digest of the platform costs 3–6 µs a page.
 */

export const BLOCK_WORDS = 16;
const ROUNDS = 64;
const STATE_WORDS = 8;

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}

/** The first 32 bits behind the point of each number; 53 bits of a double are enough for roots below 8. */
function fractions(numbers: readonly number[]): Int32Array {
  return Int32Array.from(numbers, (number) => Math.floor((number - Math.floor(number)) * 2 ** 32));
}

const INITIAL = fractions(primes(STATE_WORDS).map(Math.sqrt));
const ROUND_CONSTANTS = fractions(primes(ROUNDS).map(Math.cbrt));
const schedule = new Int32Array(ROUNDS);

export function initialState(): Int32Array {
  return INITIAL.slice();
}

/** Mixes 16 words of `block`, from `at` on, into the eight words of `state`. */
export function compressBlock(state: Int32Array, block: Int32Array, at: number): void {
  for (let t = 0; t < BLOCK_WORDS; t++) schedule[t] = block[at + t];
  for (let t = BLOCK_WORDS; t < ROUNDS; t++) {
    const x = schedule[t - 15], y = schedule[t - 2];
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ (x >>> 3);
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ (y >>> 10);
    schedule[t] = schedule[t - 16] + s0 + schedule[t - 7] + s1;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3];
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let t = 0; t < ROUNDS; t++) {
    const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[t] + schedule[t]) | 0;
    const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}
