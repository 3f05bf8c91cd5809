/** The picture side in operations: a CLIP or SigLIP tower, feature selection, and LLaVA's two-layer projector. */
import type { Backend, HeadShape, Step } from "../ops/backend.ts";
import type { Matrix, Tensor } from "../ops/tensor.ts";
import type { VisionConfig, WeightNames } from "../model/config.ts";
import { assert } from "../core/assert.ts";
import { loadMatrix, loadTable, loadVector, type WeightSource } from "./weights.ts";
import type { Observe } from "./observe.ts";

interface Block {
  readonly norm1: NormWeights;
  readonly qkv: Matrix;
  readonly qkvBias: Tensor;
  readonly output: Matrix;
  readonly outputBias: Tensor;
  readonly norm2: NormWeights;
  readonly fc1: Matrix;
  readonly fc1Bias: Tensor;
  readonly fc2: Matrix;
  readonly fc2Bias: Tensor;
}

interface NormWeights {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

export class VisionEncoder {
  readonly #patch: Matrix;
  readonly #patchBias: Tensor | null;
  readonly #classToken: Tensor | null;
  readonly #positions: Tensor;
  readonly #preNorm: NormWeights | null;
  readonly #blocks: readonly Block[];
  readonly #linear1: Matrix;
  readonly #linear1Bias: Tensor | null;
  readonly #linear2: Matrix;
  readonly #linear2Bias: Tensor | null;
  readonly #shape: HeadShape;

  /** Loads all weights. Blocks behind the last selected feature layer are not loaded: nothing reads them. */
  constructor(backend: Backend, readonly config: VisionConfig, names: WeightNames, source: WeightSource) {
    assert(
      names.vision !== null && names.projector !== null,
      "a vision config comes with names of vision weights",
    );
    const vision = names.vision, projector = names.projector;
    const vector = (...parts: string[]) => loadVector(backend, source, parts);
    const norm = (name: string) => ({ weight: vector(`${name}.weight`), bias: vector(`${name}.bias`) });
    const clip = config.tower === "clip";
    this.#shape = { heads: config.heads, kvHeads: config.heads, headDim: config.hidden / config.heads };
    this.#patch = loadMatrix(backend, source, [`${vision}embeddings.patch_embedding.weight`]);
    this.#patchBias = clip ? null : vector(`${vision}embeddings.patch_embedding.bias`);
    this.#classToken = config.classToken ? vector(`${vision}embeddings.class_embedding`) : null;
    this.#positions = loadTable(backend, source, `${vision}embeddings.position_embedding.weight`);
    this.#preNorm = clip ? norm(`${vision}pre_layrnorm`) : null;
    this.#blocks = Array.from({ length: Math.max(...config.featureLayers) }, (_, index) => {
      const name = (part: string) => `${vision}encoder.layers.${index}.${part}`;
      const qkv = ["q", "k", "v"].map((part) => name(`self_attn.${part}_proj`));
      return {
        norm1: norm(name("layer_norm1")),
        qkv: loadMatrix(backend, source, qkv.map((part) => `${part}.weight`), true),
        qkvBias: vector(...qkv.map((part) => `${part}.bias`)),
        output: loadMatrix(backend, source, [name("self_attn.out_proj.weight")], true),
        outputBias: vector(name("self_attn.out_proj.bias")),
        norm2: norm(name("layer_norm2")),
        fc1: loadMatrix(backend, source, [name("mlp.fc1.weight")], true),
        fc1Bias: vector(name("mlp.fc1.bias")),
        fc2: loadMatrix(backend, source, [name("mlp.fc2.weight")], true),
        fc2Bias: vector(name("mlp.fc2.bias")),
      };
    });
    const projectorBias = (name: string) => config.projectorBias ? vector(`${projector}${name}.bias`) : null;
    this.#linear1 = loadMatrix(backend, source, [`${projector}linear_1.weight`]);
    this.#linear1Bias = projectorBias("linear_1");
    this.#linear2 = loadMatrix(backend, source, [`${projector}linear_2.weight`]);
    this.#linear2Bias = projectorBias("linear_2");
  }

  /** Rows that one picture takes in the tower. */
  get rowsPerImage(): number {
    const side = Math.floor(this.config.imageSize / this.config.patchSize);
    return side * side + (this.config.classToken ? 1 : 0);
  }

  /** Elements of the widest scratch tensor that one picture takes: bounds the pictures of one step. */
  get elementsPerImage(): number {
    const { hidden, intermediate, patchSize, featureLayers } = this.config;
    const widest = Math.max(3 * hidden, intermediate, 3 * patchSize ** 2, featureLayers.length * hidden);
    return this.rowsPerImage * Math.max(widest, this.#linear1.rows, this.#linear2.rows);
  }

  /** Records pixels [images, 3·size·size] → features [images · imageTokens, text hidden]. */
  record(step: Step, pixels: Tensor, observe: Observe | null = null): Tensor {
    const { config } = this;
    const images = pixels.rows;
    let x = this.#embed(step, pixels, images, observe);
    if (this.#preNorm !== null) {
      const normed = step.tensor(x.rows, config.hidden);
      step.layerNorm({ x, ...this.#preNorm, eps: config.normEps, out: normed });
      step.release(x);
      x = normed;
    }
    const depth = config.featureLayers.length;
    // Row r of feature j of n goes to row r·n + j, so that [rows · n, hidden] reads as [rows, n · hidden].
    const features = step.tensor(images * config.imageTokens * depth, config.hidden);
    const collect = (layer: number) => {
      for (const [j, wanted] of config.featureLayers.entries()) {
        if (wanted === layer) this.#select(step, x, images, j, features);
      }
    };
    const bounds = Uint32Array.from({ length: images + 1 }, (_, image) => image * this.rowsPerImage);
    const segments = step.indices(bounds);
    collect(0);
    for (const [index, block] of this.#blocks.entries()) {
      this.#attention(step, block, x, segments);
      this.#mlp(step, block, x);
      observe?.(`vision.layer.${index}.output`, x);
      collect(index + 1);
    }
    step.release(x);
    return this.#project(
      step,
      step.view(features, images * config.imageTokens, depth * config.hidden),
      features,
      observe,
    );
  }

  #embed(step: Step, pixels: Tensor, images: number, observe: Observe | null): Tensor {
    const { hidden, patchSize, imageSize } = this.config;
    const perImage = Math.floor(imageSize / patchSize) ** 2;
    const columns = step.tensor(images * perImage, 3 * patchSize ** 2);
    step.patchify({ pixels, height: imageSize, width: imageSize, patch: patchSize, out: columns });
    const patches = step.tensor(images * perImage, hidden);
    step.matmul({ x: columns, weight: this.#patch, bias: this.#patchBias, out: patches });
    step.release(columns);
    const x = step.tensor(images * this.rowsPerImage, hidden);
    step.visionEmbed({ patches, classToken: this.#classToken, positions: this.#positions, images, out: x });
    step.release(patches);
    observe?.("vision.embeddings", x);
    return x;
  }

  /** `default` leaves the first row of every picture out, `full` takes all. */
  #select(step: Step, x: Tensor, images: number, column: number, features: Tensor): void {
    const { imageTokens, featureLayers, hidden } = this.config;
    const skip = this.rowsPerImage - imageTokens;
    const count = images * imageTokens;
    const source = new Uint32Array(count), target = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      source[i] = Math.floor(i / imageTokens) * this.rowsPerImage + skip + i % imageTokens;
      target[i] = i * featureLayers.length + column;
    }
    const picked = step.tensor(count, hidden);
    step.gatherRows({ x, rows: step.indices(source), out: picked });
    step.scatterRows({ x: picked, rows: step.indices(target), out: features });
    step.release(picked);
  }

  #attention(step: Step, block: Block, x: Tensor, segments: ReturnType<Step["indices"]>): void {
    const { hidden, normEps } = this.config;
    const shape = this.#shape;
    const normed = step.tensor(x.rows, hidden);
    step.layerNorm({ x, ...block.norm1, eps: normEps, out: normed });
    const qkv = step.tensor(x.rows, 3 * hidden);
    step.matmul({ x: normed, weight: block.qkv, bias: block.qkvBias, out: qkv });
    step.segmentAttention({ qkv, shape, scale: 1 / Math.sqrt(shape.headDim), segments, out: normed });
    step.release(qkv);
    step.matmul({ x: normed, weight: block.output, bias: block.outputBias, residual: x, out: x });
    step.release(normed);
  }

  #mlp(step: Step, block: Block, x: Tensor): void {
    const { hidden, intermediate, normEps, activation } = this.config;
    const normed = step.tensor(x.rows, hidden);
    step.layerNorm({ x, ...block.norm2, eps: normEps, out: normed });
    const wide = step.tensor(x.rows, intermediate);
    step.matmul({ x: normed, weight: block.fc1, bias: block.fc1Bias, activation, out: wide });
    step.release(normed);
    step.matmul({ x: wide, weight: block.fc2, bias: block.fc2Bias, residual: x, out: x });
    step.release(wide);
  }

  #project(step: Step, selected: Tensor, owner: Tensor, observe: Observe | null): Tensor {
    observe?.("vision.output", selected);
    const activation = this.config.projectorActivation;
    const wide = step.tensor(selected.rows, this.#linear1.rows);
    step.matmul({ x: selected, weight: this.#linear1, bias: this.#linear1Bias, activation, out: wide });
    step.release(owner);
    const out = step.tensor(selected.rows, this.#linear2.rows);
    step.matmul({ x: wide, weight: this.#linear2, bias: this.#linear2Bias, out });
    step.release(wide);
    observe?.("projector.output", out);
    return out;
  }
}
