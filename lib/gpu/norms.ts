/** Records the operations that reduce a row: rms_norm, layer_norm. */
import { assert } from "../core/assert.ts";
import { layerNorm } from "../../shaders/layer_norm.wgsl.ts";
import { rmsNorm } from "../../shaders/rms_norm.wgsl.ts";
import { foldedGrid } from "./grid.ts";
import { floatBits, type GpuTensor, type Recorder } from "./recorder.ts";

/** y[t,d] = x[t,d] · weight[d] / sqrt(mean_d(x²) + eps). */
export function recordRmsNorm(
  recorder: Recorder,
  o: { x: GpuTensor; weight: GpuTensor; eps: number; out: GpuTensor },
): void {
  const { x, weight, eps, out } = o;
  assertShapes("rms_norm", x, out, [weight]);
  recorder.dispatch(
    rmsNorm(recorder.tuning.workgroup),
    [x.buffer, weight.buffer, out.buffer],
    [x.rows, x.cols, floatBits(eps)],
    foldedGrid(x.rows),
  );
}

/** y = (x − mean) / sqrt(var + eps) · weight + bias, per row. */
export function recordLayerNorm(
  recorder: Recorder,
  o: { x: GpuTensor; weight: GpuTensor; bias: GpuTensor; eps: number; out: GpuTensor },
): void {
  const { x, weight, bias, eps, out } = o;
  assertShapes("layer_norm", x, out, [weight, bias]);
  recorder.dispatch(
    layerNorm(recorder.tuning.workgroup),
    [x.buffer, weight.buffer, bias.buffer, out.buffer],
    [x.rows, x.cols, floatBits(eps)],
    foldedGrid(x.rows),
  );
}

function assertShapes(name: string, x: GpuTensor, out: GpuTensor, vectors: readonly GpuTensor[]): void {
  assert(x.rows === out.rows && x.cols === out.cols, `${name}: out has the shape of x`);
  assert(x.buffer !== out.buffer, `${name}: out is not x`);
  assert(vectors.every((v) => v.rows * v.cols === x.cols), `${name}: vectors have dim values`);
}
