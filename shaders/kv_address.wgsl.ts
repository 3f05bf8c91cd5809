import type { KvDtype, KvShape } from "../lib/ops/kv.ts";

/**
 * Where keys and values lie. A quad is four neighbouring elements of one head: vec2<u32> of packed halves for f16,
 * vec4<u32> of bits for f32. A page holds, per KV head, its keys [headDim / 4][slot] and then its values
 * [slot][headDim / 4], in quads: neighbouring threads read the keys of neighbouring slots and the quads of one value.
 *
 * Reference: tests/reference/kv_pages.ts (same values, its own layout). Stores to f16 are clamped to ±65504 first.
 */
export interface KvLayout {
  readonly dtype: KvDtype;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly pageSlots: number;
  /** Buffers that the pages are spread over, 1 … 4. */
  readonly shards: number;
}

/** Keys or values. */
export type KvPart = "key" | "value";

export function kvLayout(shape: KvShape, shards: number): KvLayout {
  const { dtype, kvHeads, headDim, pageSlots } = shape;
  return { dtype, kvHeads, headDim, pageSlots, shards };
}

/** The layout's part of a kernel's key. */
export function kvKey(layout: KvLayout): string {
  return `${layout.dtype} ${layout.kvHeads}x${layout.headDim} slots${layout.pageSlots} shards${layout.shards}`;
}

/**
 * WGSL that declares the shards from `firstBinding` on and reads them:
 *
 *   Address                            a quad's place; with one shard an index, otherwise (shard, index)
 *   key_address(page, head, slot)      quad 0 of a key; the next quads follow at PAGE_SLOTS each
 *   value_address(page, head, slot)    quad 0 of a value; the next quads follow at 1 each
 *   load_words(address, offset)        a quad as stored
 *   load_quad(address, offset)         a quad as vec4<f32>
 *
 * `slot` counts from the sequence's first one. Expects `params.shard_shift`, log2 of the pages of a shard.
 */
export function kvReading(layout: KvLayout, firstBinding: number): string {
  return declarations(layout, firstBinding, "read") + addresses(layout) + loads(layout);
}

/** As {@link kvReading}, and also store_words(address, offset, words) and store_quad(address, offset, quad). */
export function kvWriting(layout: KvLayout, firstBinding: number): string {
  return declarations(layout, firstBinding, "read_write") + addresses(layout) + loads(layout) +
    stores(layout);
}

/**
 * WGSL, behind {@link kvReading} or {@link kvWriting}, that reads pages as raw 32-bit words; `word` counts from the first page of
 * the table whose index in the array of page numbers is `table`; quads begin at multiples of 4:
 *
 *   load_raw(table, word)         one word as f32
 *   load_raw_quad(table, word)    four neighbouring words as vec4<f32>
 *
 * Expects a function `raw_page(index) -> u32` that reads the array of page numbers.
 */
export function kvRawReading(layout: KvLayout): string {
  const quad = layout.dtype === "f16"
    ? "vec4<u32>(load_words(at, 0u), load_words(at, 1u))"
    : "load_words(at, 0u)";
  return `
const WIDTH: u32 = ${layout.dtype === "f16" ? 2 : 4}u; // raw words of one element of the shards
const PAGE_WORDS: u32 = KV_HEADS * HEAD_QUADS * WIDTH;
fn raw_address(table: u32, word: u32) -> Address {
  return page_address(raw_page(table + word / PAGE_WORDS), (word % PAGE_WORDS) / WIDTH);
}
fn load_raw(table: u32, word: u32) -> f32 {
  return bitcast<f32>(load_words(raw_address(table, word), 0u)[word % WIDTH]);
}
fn load_raw_quad(table: u32, word: u32) -> vec4<f32> {
  let at = raw_address(table, word);
  return bitcast<vec4<f32>>(${quad});
}
`;
}

/** As {@link kvRawReading}, and store_raw(table, word, f32) and store_raw_quad(table, word, vec4<f32>). */
export function kvRawWriting(layout: KvLayout): string {
  const quad = layout.dtype === "f16"
    ? "store_words(at, 0u, bits.xy);\n  store_words(at, 1u, bits.zw);"
    : "store_words(at, 0u, bits);";
  return `${kvRawReading(layout)}
fn store_raw_word(address: Address, offset: u32, lane: u32, word: u32) {
${overShards(layout, (shard, index) => `pages${shard}[${index}][lane] = word;`)}
}
fn store_raw(table: u32, word: u32, value: f32) {
  store_raw_word(raw_address(table, word), 0u, word % WIDTH, bitcast<u32>(value));
}
fn store_raw_quad(table: u32, word: u32, value: vec4<f32>) {
  let at = raw_address(table, word);
  let bits = bitcast<vec4<u32>>(value);
  ${quad}
}
`;
}

function declarations(layout: KvLayout, firstBinding: number, access: string): string {
  const quads = layout.headDim / 4;
  let text = `
alias Words = ${layout.dtype === "f16" ? "vec2<u32>" : "vec4<u32>"};
alias Address = ${layout.shards === 1 ? "u32" : "vec2<u32>"};
const QUADS: u32 = ${quads}u; // of one key or value
const KV_HEADS: u32 = ${layout.kvHeads}u;
const PAGE_SLOTS: u32 = ${layout.pageSlots}u;
const HEAD_QUADS: u32 = ${2 * layout.pageSlots * quads}u; // keys and values of one head in one page
`;
  for (let shard = 0; shard < layout.shards; shard++) {
    text += `@group(0) @binding(${
      firstBinding + shard
    }) var<storage, ${access}> pages${shard}: array<Words>;\n`;
  }
  return text;
}

function addresses(layout: KvLayout): string {
  const pageStart = layout.shards === 1
    ? "return page * KV_HEADS * HEAD_QUADS + in_page;"
    : `let local = page & ((1u << params.shard_shift) - 1u);
  return vec2<u32>(page >> params.shard_shift, local * KV_HEADS * HEAD_QUADS + in_page);`;
  return `
fn page_address(page: u32, in_page: u32) -> Address {
  ${pageStart}
}
fn key_address(page: u32, head: u32, slot: u32) -> Address {
  return page_address(page, head * HEAD_QUADS + slot % PAGE_SLOTS);
}
fn value_address(page: u32, head: u32, slot: u32) -> Address {
  return page_address(page, head * HEAD_QUADS + (PAGE_SLOTS + slot % PAGE_SLOTS) * QUADS);
}
`;
}

function loads(layout: KvLayout): string {
  const unpack = layout.dtype === "f16"
    ? "vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y))"
    : "bitcast<vec4<f32>>(words)";
  return `
fn load_words(address: Address, offset: u32) -> Words {
${overShards(layout, (shard, index) => `return pages${shard}[${index}];`)}
}
fn load_quad(address: Address, offset: u32) -> vec4<f32> {
  let words = load_words(address, offset);
  return ${unpack};
}
`;
}

function stores(layout: KvLayout): string {
  const pack = layout.dtype === "f16"
    ? `let half = clamp(quad, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  store_words(address, offset, vec2<u32>(pack2x16float(half.xy), pack2x16float(half.zw)));`
    : "store_words(address, offset, bitcast<vec4<u32>>(quad));";
  return `
fn store_words(address: Address, offset: u32, words: Words) {
${overShards(layout, (shard, index) => `pages${shard}[${index}] = words;`)}
}
fn store_quad(address: Address, offset: u32, quad: vec4<f32>) {
  ${pack}
}
`;
}

/** One statement for the shard that an address names; the last shard is the default. */
function overShards(layout: KvLayout, statement: (shard: number, index: string) => string): string {
  if (layout.shards === 1) return `  ${statement(0, "address + offset")}`;
  let text = "  switch (address.x) {\n";
  for (let shard = 0; shard < layout.shards; shard++) {
    const label = shard === layout.shards - 1 ? "default" : `case ${shard}u`;
    text += `    ${label}: { ${statement(shard, "address.y + offset")} }\n`;
  }
  return text + "  }";
}
