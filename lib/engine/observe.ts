import type { Step } from "../ops/backend.ts";
import type { Tensor } from "../ops/tensor.ts";

/** Called while a pass is recorded, with the tensor that holds an intermediate at that moment. */
export type Observe = (name: string, tensor: Tensor) => void;

/** An observer that copies what it sees, so that tests can read it after the step. */
export function copyingObserver(step: Step, into: Map<string, Tensor>): Observe {
  return (name, tensor) => {
    const copy = step.tensor(tensor.rows, tensor.cols);
    const rows = Uint32Array.from({ length: tensor.rows }, (_, row) => row);
    step.gatherRows({ x: tensor, rows: step.indices(rows), out: copy });
    into.set(name, copy);
  };
}
