/** gated: out[t, i] = activation(x[t, i]) · x[t, I + i]; I is a multiple of 4. Threads take whole rows. */
import type { Activation } from "../ops/backend.ts";
import { activation, ACTIVATIONS } from "./activation.ts";
import { doWhile, f32x4, get, I32, i32, ModuleBuilder, sequence, set, v128, whileLoop } from "./emit.ts";
import type { Machine } from "./machine.ts";

export const GatedWord = { x: 0, rows: 1, inner: 2, activation: 3, out: 4 } as const;

/** gated(x, out, I · 4, rows). */
function buildGated(kind: Activation): ModuleBuilder {
  const module = new ModuleBuilder();
  module.add("gated", [I32, I32, I32, I32], (f, x, out, bytes, rows) => {
    const end = f.i32(), up = f.i32(), gate = f.v128(), temporaries = f.vectors(6);
    const next = [x, up, out].map((p) => set(p, i32.add(get(p), i32.const(16))));
    return whileLoop(
      get(rows),
      set(end, i32.add(get(x), get(bytes))),
      set(up, get(end)),
      doWhile(
        i32.ltU(get(x), get(end)),
        set(gate, v128.load(get(x))),
        set(gate, f32x4.mul(activation(f, kind, gate, temporaries), v128.load(get(up)))),
        sequence(v128.store(get(out), get(gate)), ...next),
      ),
      set(x, get(up)),
      set(rows, i32.sub(get(rows), i32.const(1))),
    );
  });
  return module;
}

export function runGated(machine: Machine, words: Uint32Array): void {
  const [first, last] = machine.share(words[GatedWord.rows]);
  const kind = ACTIVATIONS[words[GatedWord.activation]];
  const bytes = words[GatedWord.inner] * 4;
  machine.kernels(`gated ${kind}`, () => buildGated(kind)).gated(
    words[GatedWord.x] + first * 2 * bytes,
    words[GatedWord.out] + first * bytes,
    bytes,
    last - first,
  );
}
