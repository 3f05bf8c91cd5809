/** The frozen text model over short caches: a forward pass that remembers, and the way back to the caches. */
import { Rotary } from "../engine/rotary.ts";
import { loadMatrix, type WeightSource } from "../engine/weights.ts";
import type { TextConfig, WeightNames } from "../model/config.ts";
import type { Backend } from "../ops/backend.ts";
import type { Matrix } from "../ops/tensor.ts";
import { MATRIX_ELEMENT_BYTES } from "../ops/tensor.ts";
import { widen } from "../ops/widen.ts";
import { addAttendGradients, attend, type Run, type RunGradient } from "./attention.ts";
import { curveOf, gated, gatedGradient } from "./gated.ts";
import { FrozenLinear } from "./products.ts";
import { rmsNorm, rmsNormGradient } from "./rms_norm.ts";
import { rotate } from "./rope.ts";
import { type Cache, emptyCache, slotsIn } from "./span.ts";

interface Layer {
  readonly attentionNorm: Float32Array;
  readonly qkv: FrozenLinear;
  readonly output: FrozenLinear;
  readonly mlpNorm: Float32Array;
  readonly gateUp: FrozenLinear;
  readonly down: FrozenLinear;
}

/** New tokens of one sequence and what they follow. */
export interface Item {
  readonly tokens: Uint32Array;
  /** RoPE position of the first one. */
  readonly position: number;
  /** Indices into the caches of the pass, in order. */
  readonly caches: readonly number[];
}

/** What the way back needs of one layer. */
interface LayerTape {
  readonly x: Float32Array;
  readonly qkv: Float32Array;
  /** The items' own keys and values, as caches of one layer. */
  readonly own: readonly Cache[];
  /** Per item and query head. */
  readonly weights: readonly (readonly Float32Array[])[];
  readonly middle: Float32Array;
  readonly gateUp: Float32Array;
}

export interface Pass {
  readonly items: readonly Item[];
  readonly caches: readonly Cache[];
  readonly rotary: Float32Array;
  readonly layers: readonly LayerTape[];
  /** Output of every layer [tokens, hidden], the tokens of all items end to end. */
  readonly hidden: readonly Float32Array[];
  readonly logits: Float32Array;
}

/**
 * The bytes that a frozen decoder loads, over those of the model's weights, at most: each matrix and, of weights of two bytes,
 * its transpose in f32, which is two copies; an embedding that is the head too once more.
 */
export const FROZEN_COPIES = 4;

export class FrozenDecoder {
  readonly #layers: readonly Layer[];
  readonly #finalNorm: Float32Array;
  readonly #head: FrozenLinear;
  readonly #embedding: Matrix;
  readonly #rotary: Rotary;
  readonly #curve;

  /** Throws StartError for a tensor that is missing, or an activation without a known slope. */
  constructor(
    readonly backend: Backend,
    readonly config: TextConfig,
    names: WeightNames,
    source: WeightSource,
  ) {
    this.#curve = curveOf(config.activation);
    this.#rotary = new Rotary(config.rope, config.headDim);
    const embedding = `${names.text}embed_tokens.weight`;
    this.#embedding = loadMatrix(backend, source, [embedding]);
    this.#head = new FrozenLinear(backend, source, [config.tiedEmbeddings ? embedding : names.head], []);
    const vector = (name: string) => {
      const { dtype, shape, read } = source.tensor(name);
      return widen(dtype, read(0, shape[0] * MATRIX_ELEMENT_BYTES[dtype]));
    };
    this.#finalNorm = vector(`${names.text}norm.weight`);
    this.#layers = Array.from({ length: config.layers }, (_, index) => {
      const name = (part: string) => `${names.text}layers.${index}.${part}`;
      const linear = (biased: boolean, ...parts: string[]) =>
        new FrozenLinear(
          backend,
          source,
          parts.map((part) => name(`${part}.weight`)),
          biased ? parts.map((part) => name(`${part}.bias`)) : [],
        );
      return {
        attentionNorm: vector(name("input_layernorm.weight")),
        qkv: linear(config.qkvBias, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        output: linear(config.outputBias, "self_attn.o_proj"),
        mlpNorm: vector(name("post_attention_layernorm.weight")),
        gateUp: linear(config.mlpBias, "mlp.gate_proj", "mlp.up_proj"),
        down: linear(config.mlpBias, "mlp.down_proj"),
      };
    });
  }

  /** Logits [rows, vocab] of final hidden states before the last norm. */
  logits(hidden: Float32Array): Promise<Float32Array> {
    return this.#head.forward(rmsNorm(hidden, this.#finalNorm, this.config.normEps));
  }

  async forward(items: readonly Item[], caches: readonly Cache[]): Promise<Pass> {
    const { config } = this;
    const eps = config.normEps;
    const rotary = this.#angles(items);
    let x = await this.#embed(items);
    const layers: LayerTape[] = [], hidden: Float32Array[] = [];
    for (const [index, layer] of this.#layers.entries()) {
      const qkv = await layer.qkv.forward(rmsNorm(x, layer.attentionNorm, eps));
      rotate(qkv, this.#rowLength, config.heads + config.kvHeads, rotary, config.headDim, 1);
      const own = items.map((item, i) => this.#ownCache(qkv, firstToken(items, i), item.tokens.length));
      const mixed = new Float32Array(x.length / config.hidden * this.#queries);
      const weights = items.map((_, i) =>
        this.#eachHead(items, i, (head, first, tokens) =>
          attend(
            { values: qkv, at: first * this.#rowLength + head * config.headDim, stride: this.#rowLength },
            { values: mixed, at: first * this.#queries + head * config.headDim, stride: this.#queries },
            tokens,
            this.#runs(items[i], own[i], caches, index, head),
            config.headDim,
            this.#scale,
          ))
      );
      const middle = sum(x, await layer.output.forward(mixed));
      const gateUp = await layer.gateUp.forward(rmsNorm(middle, layer.mlpNorm, eps));
      const next = sum(middle, await layer.down.forward(gated(gateUp, config.intermediate, this.#curve)));
      layers.push({ x, qkv, own, weights, middle, gateUp });
      hidden.push(next);
      x = next;
    }
    return { items, caches, rotary, layers, hidden, logits: await this.logits(x) };
  }

  /** The caches' gradients, given those of the logits and of every layer's output. */
  async backward(
    pass: Pass,
    dlogits: Float32Array,
    dhidden: readonly Float32Array[],
  ): Promise<Cache[]> {
    const { config } = this;
    const { items, caches } = pass, eps = config.normEps;
    const width = config.kvHeads * config.headDim;
    const gradients = caches.map((cache) =>
      emptyCache(cache.keys.map((_, layer) => slotsIn(cache, layer, width)), width)
    );
    const last = pass.hidden[pass.hidden.length - 1];
    let dx = rmsNormGradient(last, this.#finalNorm, eps, await this.#head.backward(dlogits));
    for (let index = config.layers - 1; index >= 0; index--) {
      const layer = this.#layers[index];
      const { x, qkv, own, weights, middle, gateUp } = pass.layers[index];
      dx = sum(dx, dhidden[index]);
      const dgated = await layer.down.backward(dx);
      const dgateUp = gatedGradient(gateUp, config.intermediate, this.#curve, dgated);
      dx = sum(dx, rmsNormGradient(middle, layer.mlpNorm, eps, await layer.gateUp.backward(dgateUp)));
      const dmixed = await layer.output.backward(dx);
      const dqkv = new Float32Array(qkv.length);
      for (const [i, item] of items.entries()) {
        const down = emptyCache([item.tokens.length], width);
        this.#eachHead(items, i, (head, first, tokens) =>
          addAttendGradients(
            { values: qkv, at: first * this.#rowLength + head * config.headDim, stride: this.#rowLength },
            { values: dqkv, at: first * this.#rowLength + head * config.headDim, stride: this.#rowLength },
            { values: dmixed, at: first * this.#queries + head * config.headDim, stride: this.#queries },
            tokens,
            this.#runs(item, own[i], caches, index, head),
            this.#gradientRuns(item, down, gradients, index),
            weights[i][head],
            config.headDim,
            this.#scale,
          ));
        this.#returnOwn(dqkv, firstToken(items, i), item.tokens.length, down);
      }
      // What comes before the first layer is given.
      if (index === 0) break;
      rotate(dqkv, this.#rowLength, config.heads + config.kvHeads, pass.rotary, config.headDim, -1);
      dx = sum(dx, rmsNormGradient(x, layer.attentionNorm, eps, await layer.qkv.backward(dqkv)));
    }
    return gradients;
  }

  get #scale(): number {
    return 1 / Math.sqrt(this.config.headDim);
  }

  get #rowLength(): number {
    return (this.config.heads + 2 * this.config.kvHeads) * this.config.headDim;
  }

  get #queries(): number {
    return this.config.heads * this.config.headDim;
  }

  #eachHead<T>(
    items: readonly Item[],
    i: number,
    run: (head: number, first: number, tokens: number) => T,
  ): T[] {
    const first = firstToken(items, i), tokens = items[i].tokens.length;
    return Array.from({ length: this.config.heads }, (_, head) => run(head, first, tokens));
  }

  #runs(item: Item, own: Cache, caches: readonly Cache[], layer: number, head: number): Run[] {
    const { heads, kvHeads, headDim } = this.config;
    const kvHead = Math.floor(head * kvHeads / heads);
    const run = (cache: Cache, at: number, isOwn: boolean): Run => {
      const count = slotsIn(cache, at, kvHeads * headDim);
      return {
        ...{ keys: cache.keys[at], values: cache.values[at] },
        ...{ at: kvHead * count * headDim, count, own: isOwn },
      };
    };
    return [...item.caches.map((cache) => run(caches[cache], layer, false)), run(own, 0, true)];
  }

  #gradientRuns(item: Item, own: Cache, gradients: readonly Cache[], layer: number): RunGradient[] {
    const of = (cache: Cache, at: number) => ({ keys: cache.keys[at], values: cache.values[at] });
    return [...item.caches.map((cache) => of(gradients[cache], layer)), of(own, 0)];
  }

  /** Keys and values of an item's tokens, by head. */
  #ownCache(qkv: Float32Array, first: number, tokens: number): Cache {
    const cache = emptyCache([tokens], this.config.kvHeads * this.config.headDim);
    this.#eachOwn(first, tokens, (part, from, to) => {
      cache[part][0].set(qkv.subarray(from, from + this.config.headDim), to);
    });
    return cache;
  }

  #returnOwn(dqkv: Float32Array, first: number, tokens: number, own: Cache): void {
    this.#eachOwn(first, tokens, (part, to, from) => {
      dqkv.set(own[part][0].subarray(from, from + this.config.headDim), to);
    });
  }

  #eachOwn(
    first: number,
    tokens: number,
    visit: (part: "keys" | "values", inQkv: number, inCache: number) => void,
  ): void {
    const { heads, kvHeads, headDim } = this.config;
    for (let t = 0; t < tokens; t++) {
      for (let head = 0; head < kvHeads; head++) {
        const at = (first + t) * this.#rowLength + (heads + head) * headDim,
          to = (head * tokens + t) * headDim;
        visit("keys", at, to);
        visit("values", at + kvHeads * headDim, to);
      }
    }
  }

  #angles(items: readonly Item[]): Float32Array {
    const positions = items.flatMap(({ tokens, position }) =>
      Array.from({ length: 3 * tokens.length }, (_, i) => position + Math.floor(i / 3))
    );
    return this.#rotary.rows(Uint32Array.from(positions));
  }

  async #embed(items: readonly Item[]): Promise<Float32Array> {
    const tokens = Uint32Array.from(items.flatMap(({ tokens }) => [...tokens]));
    const step = this.backend.begin();
    const out = step.tensor(tokens.length, this.config.hidden);
    step.embed({ table: this.#embedding, features: null, tokens: step.indices(tokens), out });
    const [bytes] = await step.finish([out]);
    return new Float32Array(bytes);
  }
}

/** Row of the first token of an item. */
function firstToken(items: readonly Item[], index: number): number {
  return items.slice(0, index).reduce((first, { tokens }) => first + tokens.length, 0);
}

function sum(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]);
}
