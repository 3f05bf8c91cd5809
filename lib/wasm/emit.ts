/**
 * WebAssembly bytes from expressions. An expression is its bytes in the order in which they run, as a tree of parts that
 * is laid out once, at the end; nothing is optimised or moved: engines keep the order they are given, and register tiles
 * depend on it. Instruction names follow the WebAssembly text format (core 3.0 with relaxed SIMD).
 * It is longer than 400 lines because the instructions are one list.
 */
import { assert } from "../core/assert.ts";

export type Code = Uint8Array | readonly (number | Code)[];

export type ValueType = 0x7f | 0x7d | 0x7b;
export const I32: ValueType = 0x7f;
export const F32: ValueType = 0x7d;
export const V128: ValueType = 0x7b;

/** A local variable or parameter of the function being built. */
export type Local = number & { readonly local: unique symbol };

function unsigned(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 127;
    rest >>>= 7;
    out.push(rest !== 0 ? low | 128 : low);
  } while (rest !== 0);
  return out;
}

function signed(value: number): number[] {
  const out: number[] = [];
  let rest = value | 0;
  while (true) {
    const low = rest & 127;
    rest >>= 7;
    if ((rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0)) return [...out, low];
    out.push(low | 128);
  }
}

function floatBytes(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

function wordBytes(value: number): number[] {
  return [...new Uint8Array(Int32Array.of(value).buffer)];
}

/** The bytes of a tree, in order. */
function layOut(code: Code): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeOf(code));
  place(bytes, 0, code);
  return bytes;
}

function sizeOf(code: Code): number {
  if (code instanceof Uint8Array) return code.length;
  let size = 0;
  for (const part of code) size += typeof part === "number" ? 1 : sizeOf(part);
  return size;
}

/** Returns where the next byte goes. */
function place(bytes: Uint8Array, at: number, code: Code): number {
  if (code instanceof Uint8Array) {
    bytes.set(code, at);
    return at + code.length;
  }
  for (const part of code) {
    if (typeof part === "number") bytes[at++] = part;
    else at = place(bytes, at, part);
  }
  return at;
}

/** Runs parts one after the other. */
export function sequence(...parts: readonly Code[]): Code {
  return parts;
}

export const get = (local: Local): Code => [0x20, unsigned(local)];
export const set = (local: Local, value: Code): Code => [value, 0x21, unsigned(local)];

const unary = (...op: number[]) => (a: Code): Code => [a, op];
const binary = (...op: number[]) => (a: Code, b: Code): Code => [a, b, op];
const ternary = (...op: number[]) => (a: Code, b: Code, c: Code): Code => [a, b, c, op];
const vector = (op: number): number[] => [0xfd, ...unsigned(op)];

/** Address operands: alignment hint, memory index (bit 6 says that an index follows), constant offset. */
function address(align: number, offset: number, memory: number): number[] {
  return memory === 0 ? [align, ...unsigned(offset)] : [align | 0x40, memory, ...unsigned(offset)];
}
const load = (op: number[], align: number) => (at: Code, offset = 0, memory = 0): Code => [
  at,
  op,
  address(align, offset, memory),
];
const store = (op: number[], align: number) => (at: Code, value: Code, offset = 0, memory = 0): Code => [
  at,
  value,
  op,
  address(align, offset, memory),
];

export const i32 = {
  const: (value: number): Code => {
    assert(Number.isInteger(value), "an integer is whole");
    return [0x41, signed(value)];
  },
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  divU: binary(0x6e),
  remU: binary(0x70),
  and: binary(0x71),
  shl: binary(0x74),
  shrU: binary(0x76),
  eqz: unary(0x45),
  eq: binary(0x46),
  ltS: binary(0x48),
  ltU: binary(0x49),
  /** a if the condition holds, b otherwise. */
  select: ternary(0x1b),
  load: load([0x28], 2),
  store: store([0x36], 2),
  store16: store([0x3b], 1),
};

export const f32 = {
  const: (value: number): Code => [0x43, floatBytes(value)],
  add: binary(0x92),
  sub: binary(0x93),
  mul: binary(0x94),
  div: binary(0x95),
  max: binary(0x97),
  sqrt: unary(0x91),
  fromU32: unary(0xb3),
  load: load([0x2a], 2),
  store: store([0x38], 2),
};

export const v128 = {
  load: load(vector(0), 2),
  /** Four i16 widened to i32, by sign. */
  load16x4S: load(vector(3), 0),
  load8x8U: load(vector(2), 0),
  load32Splat: load(vector(9), 2),
  store: store(vector(11), 2),
  /** The low 64 bits. */
  store64: (
    at: Code,
    value: Code,
    offset = 0,
  ): Code => [at, value, vector(0x5b), 0, unsigned(offset), 0],
  constF32: (value: number): Code => [vector(12), range(4).map(() => floatBytes(value))],
  constI32: (value: number): Code => [vector(12), range(4).map(() => wordBytes(value))],
  lanesF32: (values: readonly number[]): Code => [vector(12), values.map(floatBytes)],
  lanesI32: (values: readonly number[]): Code => [vector(12), values.map(wordBytes)],
  and: binary(...vector(0x4e)),
  or: binary(...vector(0x50)),
  xor: binary(...vector(0x51)),
  /** a where the mask's bits are set, b elsewhere. */
  select: ternary(...vector(0x52)),
};

export const i32x4 = {
  splat: unary(...vector(0x11)),
  extract: (a: Code, lane: number): Code => [a, vector(0x1b), lane],
  add: binary(...vector(0xae)),
  sub: binary(...vector(0xb1)),
  shl: binary(...vector(0xab)),
  shrU: binary(...vector(0xad)),
  shrS: binary(...vector(0xac)),
  ltS: binary(...vector(0x39)),
  minS: binary(...vector(0xb6)),
  maxS: binary(...vector(0xb8)),
  /** Two adjacent i16 products added. Exact. */
  dotI16x8S: binary(...vector(0xba)),
  /** Values are in range by then, so the relaxed form is exact. */
  truncF32x4: unary(...vector(0x101)),
  extendLowI16x8U: unary(...vector(0xa9)),
  extendHighI16x8U: unary(...vector(0xaa)),
  /** Lanes 0 … 3 of a, 4 … 7 of b. */
  shuffle: (a: Code, b: Code, lanes: readonly number[]): Code => [
    ...[a, b, vector(0x0d)],
    lanes.map((lane) => range(4).map((byte) => 4 * lane + byte)),
  ],
};

export const i8x16 = {
  const: (bytes: readonly number[]): Code => [vector(12), bytes],
  /** Byte i of the result is byte b[i] of a, zero where b[i] is 128 or more; 16 to 127 differ between machines. */
  swizzle: binary(...vector(0x100)),
};

export const i16x8 = {
  shl: binary(...vector(0x8b)),
  shrS: binary(...vector(0x8c)),
  /** Eight i32 lanes, a then b, saturated by sign. */
  narrowI32x4S: binary(...vector(0x85)),
  /** Eight i32 lanes, low halves of a then b, saturated by sign as unsigned. */
  narrowI32x4U: binary(...vector(0x86)),
};

export const f32x4 = {
  splat: unary(...vector(0x13)),
  extract: (a: Code, lane: number): Code => [a, vector(0x1f), lane],
  abs: unary(...vector(0xe0)),
  neg: unary(...vector(0xe1)),
  sqrt: unary(...vector(0xe3)),
  add: binary(...vector(0xe4)),
  sub: binary(...vector(0xe5)),
  mul: binary(...vector(0xe6)),
  div: binary(...vector(0xe7)),
  /** b < a ? b : a — one instruction on x86, unlike min. */
  pmin: binary(...vector(0xea)),
  pmax: binary(...vector(0xeb)),
  nearest: unary(...vector(0x6a)),
  convertI32x4S: unary(...vector(0xfa)),
  /** a · b + c, fused where the machine can. */
  fma: ternary(...vector(0x105)),
  /** c − a · b. */
  fnma: ternary(...vector(0x106)),
};

/** The sum of the four lanes: (0 + 1) + (2 + 3). */
export function horizontalSum(value: Local): Code {
  const lane = (index: number) => f32x4.extract(get(value), index);
  return f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)));
}

export function horizontalMax(value: Local): Code {
  const lane = (index: number) => f32x4.extract(get(value), index);
  return f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3)));
}

export function horizontalSumI32(value: Local): Code {
  const lane = (index: number) => i32x4.extract(get(value), index);
  return i32.add(i32.add(lane(0), lane(1)), i32.add(lane(2), lane(3)));
}

/** do { body } while (condition). */
export function doWhile(condition: Code, ...body: readonly Code[]): Code {
  return sequence([0x03, 0x40], ...body, condition, [0x0d, 0, 0x0b]);
}

/** while (condition) { body }. */
export function whileLoop(condition: Code, ...body: readonly Code[]): Code {
  return sequence([0x02, 0x40, 0x03, 0x40], i32.eqz(condition), [0x0d, 1], ...body, [0x0c, 0, 0x0b, 0x0b]);
}

export function when(condition: Code, ...body: readonly Code[]): Code {
  return sequence(condition, [0x04, 0x40], ...body, [0x0b]);
}

/** then() if the condition holds, otherwise() if not. */
export function either(condition: Code, then: Code, otherwise: Code): Code {
  return sequence(condition, [0x04, 0x40], then, [0x05], otherwise, [0x0b]);
}

export function call(index: number, ...parameters: readonly Code[]): Code {
  return sequence(...parameters, [0x10, unsigned(index)]);
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** One function being built: its locals, and constants hoisted to its entry (a vector constant inside a loop is rebuilt each round). */
export class FunctionBuilder {
  readonly types: ValueType[] = [];
  readonly #constants = new Map<string, Local>();
  #prologue: Code = [];

  constructor(readonly parameters: number) {}

  get prologue(): Code {
    return this.#prologue;
  }

  #local(type: ValueType): Local {
    this.types.push(type);
    return this.parameters + this.types.length - 1 as Local;
  }

  i32(): Local {
    return this.#local(I32);
  }

  f32(): Local {
    return this.#local(F32);
  }

  v128(): Local {
    return this.#local(V128);
  }

  vectors(count: number): Local[] {
    return range(count).map(() => this.v128());
  }

  pointers(count: number): Local[] {
    return range(count).map(() => this.i32());
  }

  splatF32(value: number): Code {
    return this.#constant(`f${value}`, v128.constF32(value));
  }

  splatI32(value: number): Code {
    return this.#constant(`i${value}`, v128.constI32(value));
  }

  bytes(values: readonly number[]): Code {
    return this.#constant(`b${values}`, i8x16.const(values));
  }

  lanesF32(values: readonly number[]): Code {
    return this.#constant(`f${values}`, v128.lanesF32(values));
  }

  lanesI32(values: readonly number[]): Code {
    return this.#constant(`i${values}`, v128.lanesI32(values));
  }

  #constant(key: string, code: Code): Code {
    let local = this.#constants.get(key);
    if (local === undefined) {
      local = this.v128();
      this.#constants.set(key, local);
      this.#prologue = sequence(this.#prologue, set(local, code));
    }
    return get(local);
  }
}

interface BuiltFunction {
  readonly name: string;
  readonly exported: boolean;
  readonly parameters: readonly ValueType[];
  readonly types: readonly ValueType[];
  readonly body: Code;
}

/** One module: functions over memory 0 (activations, pages) and, if asked, memory 1 (weights), both imported and shared. */
export class ModuleBuilder {
  readonly #functions: BuiltFunction[] = [];

  constructor(readonly weightMemory: boolean = false) {}

  /** Adds a function without results; `build` is given its parameters as locals. Returns its index for `call`. */
  add(
    name: string,
    parameters: readonly ValueType[],
    build: (f: FunctionBuilder, ...parameters: Local[]) => Code,
    exported = true,
  ): number {
    const builder = new FunctionBuilder(parameters.length);
    const body = build(builder, ...parameters.map((_, index) => index as Local));
    this.#functions.push({
      name,
      exported,
      parameters,
      types: builder.types,
      body: sequence(builder.prologue, body),
    });
    return this.#functions.length - 1;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const functions = this.#functions;
    const memories = this.weightMemory ? ["memory", "weights"] : ["memory"];
    // Shared memory with the largest maximum: flags 3, then minimum and maximum in 64 KiB pages.
    const imports = memories.map((name) =>
      sequence(text("env"), text(name), [0x02, 0x03], unsigned(1), unsigned(65536))
    );
    const exported = functions.flatMap((f, index) =>
      f.exported ? [sequence(text(f.name), [0], unsigned(index))] : []
    );
    const names = vectorOf(functions.map((f, index) => sequence(unsigned(index), text(f.name))));
    return layOut(sequence(
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(
        1,
        functions.map((f) => sequence([0x60], unsigned(f.parameters.length), f.parameters, unsigned(0))),
      ),
      section(2, imports),
      section(3, functions.map((_, index) => unsigned(index))),
      section(7, exported),
      section(10, functions.map(functionBody)),
      // The name section, so that a trap says where.
      block(0, sequence(text("name"), block(1, names))),
    ));
  }
}

function text(value: string): Code {
  const bytes = new TextEncoder().encode(value);
  return [unsigned(bytes.length), bytes];
}

function vectorOf(items: readonly Code[]): Code {
  return sequence(unsigned(items.length), ...items);
}

function block(id: number, content: Code): Code {
  return [id, sized(content)];
}

/** Bytes behind their number. */
function sized(content: Code): Code {
  const bytes = layOut(content);
  return [unsigned(bytes.length), bytes];
}

function section(id: number, items: readonly Code[]): Code {
  return block(id, vectorOf(items));
}

function functionBody(f: BuiltFunction): Code {
  const groups: { type: ValueType; count: number }[] = [];
  for (const type of f.types) {
    const last = groups.at(-1);
    if (last !== undefined && last.type === type) last.count++;
    else groups.push({ type, count: 1 });
  }
  const locals = vectorOf(groups.map(({ type, count }) => [unsigned(count), type]));
  return sized([locals, f.body, 0x0b]);
}
