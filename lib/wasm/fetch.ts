/**
 * fetch(begin, bytes, unread): reads the lines of a panel in eight streams at a time, so that tiles find it in the second-level
 * cache; 16 bytes at `unread` are overwritten. A tile reads a panel in one stream, for which main memory gives a third of what
 * it gives eight, and WebAssembly has no prefetch.
 */
import { get, I32, i32, ModuleBuilder, range, sequence, set, v128, whileLoop } from "./emit.ts";
import type { Kernel, Machine } from "./machine.ts";

const STREAMS = 8, LINES = 2, LINE_BYTES = 64;

/** Fewer rows take less time than the reading, which is in vain where the panel is near. */
const ROWS_MIN = 24;
/** Smaller matrices stay in the second-level cache from step to step. */
const MATRIX_BYTES_MIN = 1 << 20;

function build(): ModuleBuilder {
  const module = new ModuleBuilder(true);
  module.add("fetch", [I32, I32, I32], (f, begin, bytes, unread) => {
    const streams = f.pointers(STREAMS), end = f.i32(), read = f.v128();
    const part = i32.and(i32.divU(get(bytes), i32.const(STREAMS)), i32.const(-LINES * LINE_BYTES));
    return sequence(
      set(bytes, part),
      ...streams.map((stream, i) =>
        set(stream, i === 0 ? get(begin) : i32.add(get(streams[i - 1]), get(bytes)))
      ),
      set(end, i32.add(get(begin), get(bytes))),
      whileLoop(
        i32.ltU(get(streams[0]), get(end)),
        ...range(LINES).flatMap((line) =>
          streams.map((stream) => set(read, v128.or(get(read), v128.load(get(stream), line * LINE_BYTES, 1))))
        ),
        ...streams.map((stream) => set(stream, i32.add(get(stream), i32.const(LINES * LINE_BYTES)))),
      ),
      // Somebody must need what was read, or the reading is left out.
      v128.store(get(unread), get(read)),
    );
  });
  return module;
}

/** Many rows, and more weights than the second-level cache holds. Results do not depend on it. */
export function fetchPays(rows: number, matrixBytes: number): boolean {
  return rows >= ROWS_MIN && matrixBytes >= MATRIX_BYTES_MIN;
}

export function fetchKernel(machine: Machine, memory: number): Kernel {
  return machine.kernels("fetch", build, memory).fetch;
}
