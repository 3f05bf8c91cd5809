/** What the processor gives at most: a kernel of nothing but independent multiply-add chains, on one or two threads. */
import {
  doWhile,
  f32x4,
  get,
  I32,
  i32,
  ModuleBuilder,
  range,
  sequence,
  set,
  v128,
} from "../lib/wasm/emit.ts";

// Enough accumulators for two multiply-adds a cycle of four cycles' latency, and none of memory.
const CHAINS = 12, TURNS = 16, LANES = 4;

/** chain(turns): LANES × CHAINS × TURNS multiply-adds a turn. x ← x · 0.999 + 0.001 stays near 1. */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.add("chain", [I32], (f, turns) => {
    const sums = f.vectors(CHAINS), sum = f.v128();
    const turn = sums.map((s) => set(s, f32x4.fma(get(s), f.splatF32(0.999), f.splatF32(0.001))));
    return sequence(
      ...sums.map((s, i) => set(s, v128.constF32(1 + i / CHAINS))),
      doWhile(get(turns), ...range(TURNS).flatMap(() => turn), set(turns, i32.sub(get(turns), i32.const(1)))),
      // Somebody must read them, or an optimiser may leave them out.
      set(sum, v128.constF32(0)),
      ...sums.map((s) => set(sum, f32x4.add(get(sum), get(s)))),
      v128.store(i32.const(0), get(sum)),
    );
  });
  return module.bytes();
}

function instantiate(module: WebAssembly.Module): (turns: number) => void {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  return new WebAssembly.Instance(module, { env: { memory } }).exports.chain as (turns: number) => void;
}

/** Words shared with the second thread: turns to run (0: none asked), and runs done. */
const ASKED = 0, DONE = 1;
const SPIN_MS = 20;

// The second thread spins a while for its next work and then sleeps, as the backend's helpers do.
const SECOND = `
onmessage = ({ data: { module, words } }) => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const { chain } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  postMessage(null);
  for (;;) {
    const begun = performance.now();
    while (Atomics.load(words, ${ASKED}) === 0 && performance.now() - begun < ${SPIN_MS});
    Atomics.wait(words, ${ASKED}, 0);
    const turns = Atomics.exchange(words, ${ASKED}, 0);
    chain(turns);
    Atomics.add(words, ${DONE}, 1);
    Atomics.notify(words, ${DONE});
  }
};`;

export class Chain {
  readonly #run: (turns: number) => void;
  readonly #words = new Int32Array(new SharedArrayBuffer(8));

  private constructor(run: (turns: number) => void) {
    this.#run = run;
  }

  /** With a second thread that waits for work until the process ends. */
  static async start(): Promise<Chain> {
    const module = new WebAssembly.Module(moduleBytes());
    const chain = new Chain(instantiate(module));
    const url = URL.createObjectURL(new Blob([SECOND], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    const ready = Promise.withResolvers<void>();
    worker.onmessage = () => ready.resolve();
    worker.postMessage({ module, words: chain.#words });
    await ready.promise;
    URL.revokeObjectURL(url);
    // deno bench would otherwise wait for the thread's end.
    globalThis.addEventListener("unload", () => worker.terminate());
    return chain;
  }

  /** So many multiply-adds on this thread. */
  run(multiplyAdds: number): void {
    this.#run(Math.ceil(multiplyAdds / (LANES * CHAINS * TURNS)));
  }

  /** So many on both threads together, half each. */
  runOnTwo(multiplyAdds: number): void {
    const turns = Math.ceil(multiplyAdds / 2 / (LANES * CHAINS * TURNS));
    const before = Atomics.load(this.#words, DONE);
    Atomics.store(this.#words, ASKED, turns);
    Atomics.notify(this.#words, ASKED);
    this.#run(turns);
    Atomics.wait(this.#words, DONE, before);
  }
}
