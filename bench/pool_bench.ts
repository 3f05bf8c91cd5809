/**
 * `deno bench -A bench/pool_bench.ts`: what the pool costs the scheduler. Blocks of a buddy allocator of 65,536 units
 * that is half full and well broken up; sequences that begin, store a prompt and end in such a pool; keys and look-up
 * of a prompt of 4,096 tokens. At the end the time of one operation; `deno bench -A bench/pool_bench.ts -- --write`
 * keeps that table in bench/results/pool.csv.
 */
import { cpus } from "node:os";
import { seededRandom } from "../lib/core/random.ts";
import { Buddy } from "../pool/buddy.ts";
import { KvPool } from "../pool/kv_pool.ts";
import { chainOf } from "../pool/prefix_chain.ts";
import { percentile } from "./percentile.ts";

const UNITS = 65_536, PAGE_SLOTS = 16;
/** Orders of the blocks: 1 to 16 pages. */
const ORDERS = 5;
const RESULTS = new URL("./results/pool.csv", import.meta.url);

const random = seededRandom(1);
/** Nanoseconds of one operation, run by run, by the bench's name. */
const samples = new Map<string, number[]>();

/** Registers a bench of `operations` equal operations; `prepare` runs before each and is not timed. */
function bench(group: string, name: string, operations: number, run: () => void, prepare = () => {}): void {
  const times: number[] = [];
  samples.set(name, times);
  Deno.bench({
    group,
    name: operations === 1 ? name : `${name}, ${operations} times`,
    fn(b) {
      prepare();
      b.start();
      const begun = performance.now();
      run();
      times.push((performance.now() - begun) * 1e6 / operations);
      b.end();
    },
  });
}

// Random blocks until the allocator is full, then random ones back until it is half empty.
const buddy = new Buddy(UNITS);
const held: number[] = [];
const orders = new Uint8Array(UNITS);

function allocate(order: number): boolean {
  const offset = buddy.allocate(order);
  if (offset === null) return false;
  orders[offset] = order;
  held.push(offset);
  return true;
}

function takeRandomly(): number {
  const index = random.nextUint32() % held.length, offset = held[index];
  held[index] = held[held.length - 1];
  held.pop();
  return offset;
}

while (allocate(random.nextUint32() % ORDERS));
while (buddy.freeUnits < UNITS / 2) buddy.free(takeRandomly());

/** Blocks that go back and are taken again, so that the occupancy stays; `away` while they are free. */
const BLOCKS = 1000;
const offsets = new Int32Array(BLOCKS), wanted = new Uint8Array(BLOCKS);
let away = false;

function choose(): void {
  for (let i = 0; i < BLOCKS; i++) {
    offsets[i] = takeRandomly();
    wanted[i] = orders[offsets[i]];
  }
}

function giveBack(): void {
  for (const offset of offsets) buddy.free(offset);
  away = true;
}

function takeAgain(): void {
  for (const order of wanted) allocate(order);
  away = false;
}

bench("buddy, 64 k units, half full", "buddy free", BLOCKS, giveBack, () => {
  if (away) takeAgain();
  choose();
});
bench("buddy, 64 k units, half full", "buddy allocate", BLOCKS, takeAgain, () => {
  if (away) return;
  choose();
  giveBack();
});

/** A pool that sequences of random lengths fill to the half, those between them gone. */
function halfFullPool(layers: number): KvPool {
  const pool = new KvPool({ layers, pageSlots: PAGE_SLOTS, pageBytes: 4096, pageCount: UNITS });
  const sequences = [];
  for (;;) {
    const pages = pool.open(null, 0);
    sequences.push(pages);
    if (!pool.grow(pages, new Array<number>(layers).fill(1 + random.nextUint32() % 1000))) break;
  }
  while (pool.usedPages > UNITS / 2) {
    const [gone] = sequences.splice(random.nextUint32() % sequences.length, 1);
    pool.release(gone);
  }
  return pool;
}

for (const layers of [5, 32]) {
  const pool = halfFullPool(layers);
  for (const tokens of [80, 700]) {
    const slots = new Array<number>(layers).fill(tokens);
    bench("sequence", `open, grow, release: ${tokens} tokens, ${layers} layers`, 1, () => {
      const pages = pool.open(null, 0);
      if (!pool.grow(pages, slots)) throw new Error("half the pool is free");
      pool.release(pages);
    });
  }
  const pages = pool.open(null, 0), stored = new Array<number>(layers).fill(700);
  pool.grow(pages, stored);
  bench("sequence", `grow by nothing: ${layers} layers`, 1000, () => {
    for (let i = 0; i < 1000; i++) pool.grow(pages, stored);
  });
}

// Every prompt is new and the cache is full of old ones: each page that is taken is evicted first.
const crowded = new KvPool({ layers: 32, pageSlots: PAGE_SLOTS, pageBytes: 4096, pageCount: UNITS });
let prompts = 0;
function newPrompt(): void {
  const chain = chainOf(new Int32Array(700).fill(prompts++), PAGE_SLOTS, [], "");
  const pages = crowded.open(chain, 0);
  crowded.grow(pages, new Array<number>(32).fill(700));
  crowded.publish(pages, 700);
  crowded.release(pages);
}
while (crowded.gauges().evictions === 0) newPrompt();
bench("sequence", "new prompt into a full cache: 700 tokens, 32 layers", 1, newPrompt);

const prompt = Int32Array.from({ length: 4096 }, () => random.nextUint32() >>> 12);
const images = [{ firstToken: 20, rows: 576, hash: "5".repeat(64) }];
const lookup = new KvPool({ layers: 32, pageSlots: PAGE_SLOTS, pageBytes: 4096, pageCount: UNITS });
const chain = chainOf(prompt, PAGE_SLOTS, images, "salt");
const first = lookup.open(chain, 0);
lookup.grow(first, new Array<number>(32).fill(4096));
lookup.publish(first, 4096);
bench("prefix of 4,096 tokens", "chainOf: 4,096 tokens", 1, () => {
  chainOf(prompt, PAGE_SLOTS, images, "salt");
});
bench("prefix of 4,096 tokens", "cached: 4,096 tokens, all of them", 100, () => {
  for (let i = 0; i < 100; i++) lookup.cached(chain);
});
bench("prefix of 4,096 tokens", "chainOf and cached: 4,096 tokens", 1, () => {
  lookup.cached(chainOf(prompt, PAGE_SLOTS, images, "salt"));
});

globalThis.addEventListener("unload", () => {
  const { build, version } = Deno;
  const machine = `${build.os} ${build.arch}, ${
    cpus()[0].model
  }, ${cpus().length} cores, Deno ${version.deno}`;
  const rows = [...samples].map(([name, times]) => {
    const [half, most] = [0.5, 0.99].map((p) => Math.round(percentile(times, p)));
    return `"${name}",${half},${most}`;
  });
  const text = [
    `# ${machine}`,
    "# deno bench -A bench/pool_bench.ts -- --write",
    "operation,p50 ns,p99 ns",
    ...rows,
    "",
  ].join("\n");
  console.log(text);
  if (!Deno.args.includes("--write")) return;
  Deno.mkdirSync(new URL(".", RESULTS), { recursive: true });
  Deno.writeTextFileSync(RESULTS, text);
});
