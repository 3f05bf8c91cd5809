import assert from "node:assert/strict";
import {
  call,
  type Code,
  doWhile,
  either,
  F32,
  f32,
  f32x4,
  type FunctionBuilder,
  get,
  horizontalMax,
  horizontalSum,
  i16x8,
  I32,
  i32,
  i32x4,
  i8x16,
  type Local,
  ModuleBuilder,
  sequence,
  set,
  v128,
  when,
  whileLoop,
} from "../../../lib/wasm/emit.ts";

/** Values of each type to build operations from. */
const n: Code = i32.const(1), x: Code = f32.const(1), v: Code = v128.constF32(1);

/** Every instruction of the emitter with operands of its types, by what it leaves on the stack. */
const INSTRUCTIONS: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, Code>>>>>> = {
  i32: {
    i32: {
      const: n,
      add: i32.add(n, n),
      sub: i32.sub(n, n),
      mul: i32.mul(n, n),
      divU: i32.divU(n, n),
      remU: i32.remU(n, n),
      and: i32.and(n, n),
      shl: i32.shl(n, n),
      shrU: i32.shrU(n, n),
      eqz: i32.eqz(n),
      eq: i32.eq(n, n),
      ltS: i32.ltS(n, n),
      ltU: i32.ltU(n, n),
      select: i32.select(n, n, n),
      load: i32.load(n),
    },
    none: { store: i32.store(n, n), store16: i32.store16(n, n) },
  },
  f32: {
    f32: {
      const: x,
      add: f32.add(x, x),
      sub: f32.sub(x, x),
      mul: f32.mul(x, x),
      div: f32.div(x, x),
      max: f32.max(x, x),
      sqrt: f32.sqrt(x),
      fromU32: f32.fromU32(n),
      load: f32.load(n),
    },
    none: { store: f32.store(n, x) },
  },
  v128: {
    v128: {
      load: v128.load(n),
      load16x4S: v128.load16x4S(n),
      lanesF32: v128.lanesF32([1, 2, 3, 4]),
      lanesI32: v128.lanesI32([1, 2, 3, 4]),
      load8x8U: v128.load8x8U(n),
      load32Splat: v128.load32Splat(n),
      constF32: v,
      constI32: v128.constI32(-1),
      and: v128.and(v, v),
      or: v128.or(v, v),
      xor: v128.xor(v, v),
      select: v128.select(v, v, v),
    },
    none: { store: v128.store(n, v), store64: v128.store64(n, v) },
  },
  i32x4: {
    i32: { extract: i32x4.extract(v, 3) },
    v128: {
      splat: i32x4.splat(n),
      minS: i32x4.minS(v, v),
      maxS: i32x4.maxS(v, v),
      add: i32x4.add(v, v),
      sub: i32x4.sub(v, v),
      shl: i32x4.shl(v, n),
      extendLowI16x8U: i32x4.extendLowI16x8U(v),
      shuffle: i32x4.shuffle(v, v, [0, 5, 2, 7]),
      extendHighI16x8U: i32x4.extendHighI16x8U(v),
      shrU: i32x4.shrU(v, n),
      shrS: i32x4.shrS(v, n),
      ltS: i32x4.ltS(v, v),
      dotI16x8S: i32x4.dotI16x8S(v, v),
      truncF32x4: i32x4.truncF32x4(v),
    },
  },
  i8x16: {
    v128: { const: i8x16.const(new Array(16).fill(1)), swizzle: i8x16.swizzle(v, v) },
  },
  i16x8: {
    v128: {
      shl: i16x8.shl(v, n),
      shrS: i16x8.shrS(v, n),
      narrowI32x4S: i16x8.narrowI32x4S(v, v),
      narrowI32x4U: i16x8.narrowI32x4U(v, v),
    },
  },
  f32x4: {
    f32: { extract: f32x4.extract(v, 3) },
    v128: {
      splat: f32x4.splat(x),
      abs: f32x4.abs(v),
      neg: f32x4.neg(v),
      sqrt: f32x4.sqrt(v),
      add: f32x4.add(v, v),
      sub: f32x4.sub(v, v),
      mul: f32x4.mul(v, v),
      div: f32x4.div(v, v),
      pmin: f32x4.pmin(v, v),
      pmax: f32x4.pmax(v, v),
      nearest: f32x4.nearest(v),
      convertI32x4S: f32x4.convertI32x4S(v),
      fma: f32x4.fma(v, v, v),
      fnma: f32x4.fnma(v, v, v),
    },
  },
};

const NAMESPACES = { i32, f32, v128, i32x4, i16x8, i8x16, f32x4 };

function moduleOf(build: (f: FunctionBuilder, ...parameters: Local[]) => Code): ModuleBuilder {
  const module = new ModuleBuilder(true);
  module.add("run", [I32, I32, F32], build);
  return module;
}

function validates(build: (f: FunctionBuilder, ...parameters: Local[]) => Code): boolean {
  return WebAssembly.validate(moduleOf(build).bytes());
}

Deno.test("every instruction of the emitter validates with operands of its types", () => {
  for (const [space, byResult] of Object.entries(INSTRUCTIONS)) {
    const listed = Object.values(byResult).flatMap((group) => Object.keys(group)).sort();
    const known = Object.keys(NAMESPACES[space as keyof typeof NAMESPACES]).sort();
    assert.deepEqual(listed, known, `every instruction of ${space} is tried`);
    for (const [result, group] of Object.entries(byResult)) {
      for (const [name, code] of Object.entries(group)) {
        const valid = validates((f) =>
          result === "none"
            ? code
            : set(result === "i32" ? f.i32() : result === "f32" ? f.f32() : f.v128(), code)
        );
        assert.ok(valid, `${space}.${name}`);
      }
    }
  }
});

Deno.test("an operand of another type does not validate", () => {
  assert.ok(!validates((f) => set(f.f32(), n)));
  assert.ok(!validates((f) => set(f.v128(), f32x4.add(v, n))));
});

Deno.test("control flow and calls validate, with and without bodies", () => {
  assert.ok(validates((_, a) => whileLoop(get(a), set(a, i32.sub(get(a), i32.const(1))))));
  assert.ok(validates((_, a) => doWhile(get(a), when(get(a), set(a, n)), when(get(a)))));
  assert.ok(validates((_, a) => either(get(a), set(a, n), [])));
  assert.ok(validates((f) => {
    const value = f.v128(), sum = f.f32();
    return sequence(set(value, v), set(sum, horizontalSum(value)), set(sum, horizontalMax(value)));
  }));
  const module = new ModuleBuilder();
  const inner = module.add("inner", [I32], () => [], false);
  module.add("outer", [], () => call(inner, n));
  assert.ok(WebAssembly.validate(module.bytes()));
});

interface Ran {
  readonly words: Uint16Array;
  readonly exports: string[];
}

/** Runs a module's `run` on one page of memory. */
function run(build: (f: FunctionBuilder, ...parameters: Local[]) => Code, ...parameters: number[]): Ran {
  const shared = () => new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const memory = shared();
  const env = { memory, weights: shared() };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleOf(build).bytes()), { env });
  (exports.run as (...values: number[]) => void)(...parameters);
  return { words: new Uint16Array(memory.buffer), exports: Object.keys(exports) };
}

Deno.test("constants on both sides of every length of their encoding arrive whole", () => {
  const edges = [0, 6, 13, 20, 27].flatMap((
    bits,
  ) => [2 ** bits - 1, 2 ** bits, -(2 ** bits), -(2 ** bits) - 1]);
  for (const value of [...edges, 2 ** 31 - 1, -(2 ** 31)]) {
    const { words } = run(() =>
      sequence(
        i32.store16(i32.const(0), i32.const(value)),
        i32.store16(i32.const(2), i32.shrU(i32.const(value), i32.const(16))),
      )
    );
    assert.equal((words[0] | words[1] << 16) | 0, value | 0);
  }
});

Deno.test("offsets on both sides of every length of their encoding address the right byte", () => {
  for (const offset of [0, 126, 128, 16_382, 16_384, 65_534]) {
    const { words } = run(() => i32.store16(i32.const(0), i32.const(7), offset));
    assert.equal(words[offset / 2], 7, `offset ${offset}`);
    assert.equal(words.reduce((sum, word) => sum + word, 0), 7);
  }
});

Deno.test("a function with more than 127 locals of mixed types keeps them apart", () => {
  const { words } = run((f) => {
    const numbers = Array.from({ length: 150 }, (_, i) => i % 3 === 0 ? (f.v128(), f.i32()) : f.i32());
    return sequence(
      ...numbers.map((local, i) => set(local, i32.const(i))),
      ...numbers.map((local, i) => i32.store16(i32.const(2 * i), get(local))),
    );
  });
  assert.deepEqual([...words.subarray(0, 150)], Array.from({ length: 150 }, (_, i) => i));
});

Deno.test("loops run their bodies as often as they say", () => {
  const count = (loop: (left: Local, body: Code) => Code, times: number) =>
    run((f, left) => {
      const turns = f.i32();
      const body = sequence(
        set(turns, i32.add(get(turns), i32.const(1))),
        set(left, i32.sub(get(left), i32.const(1))),
      );
      return sequence(loop(left, body), i32.store16(i32.const(0), get(turns)));
    }, times).words[0];
  for (const times of [1, 5]) {
    assert.equal(count((left, body) => doWhile(get(left), body), times), times);
    assert.equal(count((left, body) => whileLoop(get(left), body), times), times);
  }
  assert.equal(count((left, body) => whileLoop(get(left), body), 0), 0);
});

Deno.test("a module exports what it was told to", () => {
  const module = new ModuleBuilder();
  module.add("hidden", [], () => [], false);
  module.add("shown", [], () => []);
  const names = WebAssembly.Module.exports(new WebAssembly.Module(module.bytes())).map(({ name }) => name);
  assert.deepEqual(names, ["shown"]);
});
