/**
 * `deno bench`: how near the WebAssembly kernels come to the processor. f32 matmul beside a kernel of nothing but
 * independent multiply-add chains, both on one and two threads (where virtual cores share a real one, the chain
 * shows it too); products of one, 16 and 64 rows by every weight format
 * beside f32. At the end: median rates, their ratios, and what a hand-tuned prototype of the same kernels came
 * to on a quiet machine (Sapphire Rapids, 4 GHz). Compare ratios: clocks differ.
 */
import { seededRandom } from "../lib/core/random.ts";
import type { Matrix, MatrixDtype } from "../lib/ops/tensor.ts";
import { type ProductFamily, WasmBackend } from "../lib/wasm/backend.ts";
import type { QuantisedFormat } from "../lib/wasm/quantised.ts";
import type { KernelUse } from "../lib/wasm/self_test.ts";
import { Chain } from "./chain.ts";
import { percentile } from "./percentile.ts";

/** Milliseconds of every run, by the bench's name. */
const samples = new Map<string, number[]>();

/** Registers a bench that also keeps its own times, for the ratios at the end. */
function bench(group: string, name: string, baseline: boolean, run: () => Promise<void> | void): void {
  const times: number[] = [];
  samples.set(name, times);
  Deno.bench({
    group,
    name,
    baseline,
    async fn() {
      const begun = performance.now();
      await run();
      times.push(performance.now() - begun);
    },
  });
}

/** 10⁹ multiply-adds a second in the median run. Deno's warm-up runs are few beside the measured ones. */
function rate(name: string, multiplyAdds: number): number {
  return multiplyAdds / percentile(samples.get(name)!, 0.5) / 1e6;
}

const NO_KERNELS: KernelUse = { formats: [], families: [], activations: [], caches: [], segments: [] };

async function open(
  threads: number,
  quantise?: QuantisedFormat,
  family?: ProductFamily,
): Promise<WasmBackend> {
  return await WasmBackend.create({
    threads,
    weightBytes: 1 << 26,
    quantise,
    family,
    examine: NO_KERNELS,
  });
}

const random = seededRandom(1);
/** Uniform in ±1: no zeros to speak of and no subnormals, which run at other speeds. */
function values(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => random.nextUint32() / 2 ** 31 - 1);
}

function encode(dtype: MatrixDtype, from: Float32Array): Uint8Array {
  if (dtype === "f32") return new Uint8Array(from.buffer);
  if (dtype === "f16") return new Uint8Array(Float16Array.from(from).buffer);
  return new Uint8Array(Uint16Array.from(new Uint32Array(from.buffer), (word) => word >>> 16).buffer);
}

interface Shape {
  readonly rows: number;
  readonly depth: number;
  readonly outputs: number;
}

function multiplyAdds({ rows, depth, outputs }: Shape): number {
  return rows * depth * outputs;
}

/** Products of one step: at least four million multiply-adds, so that recording a step does not show. */
function callsOf(shape: Shape): number {
  return Math.max(1, Math.ceil(4e6 / multiplyAdds(shape)));
}

/** A function that runs one step of products. Its weight is made for the machine before the first. */
function product(backend: WasmBackend, dtype: MatrixDtype, shape: Shape): () => Promise<void> {
  const { rows, depth, outputs } = shape;
  const weight: Matrix = backend.createMatrix(outputs, depth, dtype, true);
  backend.writeMatrix(weight, 0, encode(dtype, values(outputs * depth)));
  const x = backend.createTensor(rows, depth, values(rows * depth));
  const calls = callsOf(shape);
  return async () => {
    const step = backend.begin();
    const out = step.tensor(rows, outputs);
    for (let call = 0; call < calls; call++) step.matmul({ x, weight, out });
    await step.finish([]);
  };
}

const one = await open(1), two = await open(2);
const TILE_SHAPES: readonly Shape[] = [
  { rows: 96, depth: 256, outputs: 512 },
  { rows: 96, depth: 512, outputs: 240 },
  { rows: 64, depth: 192, outputs: 768 },
  { rows: 64, depth: 960, outputs: 2560 },
];
const chain = await Chain.start();
const tileName = (shape: Shape) => `${shape.rows}x${shape.depth}x${shape.outputs}`;
for (const shape of TILE_SHAPES) {
  const group = `f32 matmul ${tileName(shape)}`;
  const work = multiplyAdds(shape) * callsOf(shape);
  bench(group, `${group}: chain, 1 thread`, true, () => chain.run(work));
  bench(group, `${group}: chain, 2 threads`, false, () => chain.runOnTwo(work));
  bench(group, `${group}: 1 thread`, false, product(one, "f32", shape));
  bench(group, `${group}: 2 threads`, false, product(two, "f32", shape));
}

/** Every way to hold and multiply weights. */
const FORMATS: readonly {
  readonly name: string;
  readonly backend: WasmBackend;
  readonly dtype: MatrixDtype;
}[] = [
  { name: "f32", backend: one, dtype: "f32" },
  { name: "f16", backend: one, dtype: "f16" },
  { name: "bf16", backend: one, dtype: "bf16" },
  { name: "int8 exact", backend: await open(1, "int8", "exact"), dtype: "f32" },
  { name: "int8 dot", backend: await open(1, "int8", "dot"), dtype: "f32" },
  { name: "int4 exact", backend: await open(1, "int4", "exact"), dtype: "f32" },
  { name: "int4 dot", backend: await open(1, "int4", "dot"), dtype: "f32" },
];

/** The prototype's rates beside its own f32, by the rows multiplied; null where it ran none or another instruction. */
const PROTOTYPE: Readonly<Record<string, readonly (number | null)[]>> = {
  // 256x1024, one row: 13.9 G weights/s of f32. 960x2560, 16 and 64 rows: 43 and 51 Gop/s.
  "f16": [11.5 / 13.9, 38 / 43, 50 / 51],
  "bf16": [12.7 / 13.9, null, null],
  "int8 exact": [10.3 / 13.9, 47 / 43, 53 / 51],
  "int8 dot": [22 / 13.9, null, 66 / 54],
  "int4 exact": [8.1 / 13.9, 46 / 43, 54 / 51],
  // Its int4 took relaxed dots of bytes (34 / 13.9, 74 / 43, 73 / 51): three instructions where there is no VNNI.
  "int4 dot": [null, null, null],
};

const FORMAT_SHAPES: readonly Shape[] = [
  { rows: 1, depth: 256, outputs: 1024 },
  { rows: 16, depth: 960, outputs: 2560 },
  { rows: 64, depth: 960, outputs: 2560 },
];
for (const shape of FORMAT_SHAPES) {
  const group = `weights ${tileName(shape)}`;
  for (const { name, backend, dtype } of FORMATS) {
    bench(group, `${group}: ${name}`, name === "f32", product(backend, dtype, shape));
  }
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
  console.log("");
  line(header);
  line(header.map(() => "---"));
  rows.forEach(line);
}

globalThis.addEventListener("unload", () => {
  table(
    [
      "f32 matmul, GFLOP/s",
      "chain, 1 thread",
      "1 thread",
      "2 threads",
      "1 thread / chain (0.8)",
      "2 / 1 (1.8)",
      "chain 2 / 1",
    ],
    TILE_SHAPES.map((shape) => {
      const of = (what: string) =>
        2 * rate(`f32 matmul ${tileName(shape)}: ${what}`, multiplyAdds(shape) * callsOf(shape));
      const [peak, single, both] = ["chain, 1 thread", "1 thread", "2 threads"].map(of);
      const rates = [peak, single, both].map((value) => value.toFixed(1));
      const ratios = [single / peak, both / single, of("chain, 2 threads") / peak];
      return [tileName(shape), ...rates, ...ratios.map((ratio) => ratio.toFixed(2))];
    }),
  );
  for (const [index, shape] of FORMAT_SHAPES.entries()) {
    const of = (name: string) =>
      rate(`weights ${tileName(shape)}: ${name}`, multiplyAdds(shape) * callsOf(shape));
    table(
      [`${tileName(shape)}, 1 thread`, "G multiply-adds/s", "beside f32", "prototype"],
      FORMATS.map(({ name }) => {
        const prototype = PROTOTYPE[name]?.[index] ?? null;
        const ratio = of(name) / of("f32");
        return [
          name,
          of(name).toFixed(1),
          ratio.toFixed(2),
          prototype === null ? "" : prototype.toFixed(2),
        ];
      }),
    );
  }
});
