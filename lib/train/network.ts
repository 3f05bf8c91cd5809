/** One network of a compressor: Linear(f·d → d) ReLU Linear(d → d) ReLU Linear(d → d), forward and backward. */
import { assert } from "../core/assert.ts";
import { COMPRESSOR_LINEARS, type CompressorKind, compressorTensor } from "../model/compressor.ts";
import { addLinearGradients, linear, linearInputGradient } from "./linear.ts";
import { createParameter, type Parameter } from "./parameter.ts";

/** Inputs of the three linear layers, kept for the way back. */
export interface NetworkTape {
  readonly rows: number;
  readonly inputs: readonly Float32Array[];
  readonly out: Float32Array;
}

export class Network {
  readonly weights: readonly Parameter[];
  readonly biases: readonly Parameter[];

  constructor(kind: CompressorKind, layer: number, readonly factor: number, readonly headDim: number) {
    this.weights = COMPRESSOR_LINEARS.map((linear) =>
      createParameter(
        compressorTensor(kind, layer, linear, "weight"),
        [headDim, linear === 0 ? factor * headDim : headDim],
      )
    );
    this.biases = COMPRESSOR_LINEARS.map((linear) =>
      createParameter(compressorTensor(kind, layer, linear, "bias"), [headDim])
    );
  }

  get parameters(): Parameter[] {
    return this.weights.flatMap((weight, i) => [weight, this.biases[i]]);
  }

  /**
   * The closed form to start from: the mean, which of all vectors is nearest to the f members in squares. A ReLU passes it on
   * because `shift` [headDim] lifts it above zero; the last bias takes that back. Where it does not suffice, the network
   * is no longer linear, which is what training uses.
   */
  startAsMean(shift: Float32Array): void {
    for (const { values } of this.parameters) values.fill(0);
    const { factor, headDim } = this;
    for (let d = 0; d < headDim; d++) {
      for (let i = 0; i < factor; i++) {
        this.weights[0].values[d * factor * headDim + i * headDim + d] = 1 / factor;
      }
      this.weights[1].values[d * headDim + d] = 1;
      this.weights[2].values[d * headDim + d] = 1;
      this.biases[0].values[d] = shift[d];
      this.biases[2].values[d] = -shift[d];
    }
  }

  /** `x` [rows, factor · headDim]. */
  forward(x: Float32Array): NetworkTape {
    const rows = x.length / (this.factor * this.headDim);
    assert(Number.isInteger(rows), "rows are whole groups");
    const inputs = [x];
    for (let i = 0; i < 2; i++) {
      const y = linear(inputs[i], this.weights[i].values, this.biases[i].values, rows);
      for (let at = 0; at < y.length; at++) if (y[at] < 0) y[at] = 0;
      inputs.push(y);
    }
    return { rows, inputs, out: linear(inputs[2], this.weights[2].values, this.biases[2].values, rows) };
  }

  /** Adds the parameters' gradients. What was compressed is given, so its gradient is not wanted. */
  backward({ rows, inputs }: NetworkTape, gradient: Float32Array): void {
    let dy = gradient;
    for (let i = 2; i >= 0; i--) {
      addLinearGradients(dy, inputs[i], rows, this.weights[i].gradient, this.biases[i].gradient);
      if (i === 0) break;
      dy = linearInputGradient(dy, this.weights[i].values, rows, this.headDim);
      for (let at = 0; at < dy.length; at++) if (inputs[i][at] <= 0) dy[at] = 0;
    }
  }
}
