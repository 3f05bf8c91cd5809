/** A trained tensor with the gradient of the step at hand. */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly gradient: Float32Array;
}

export function createParameter(name: string, shape: readonly number[]): Parameter {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { name, shape, values: new Float32Array(size), gradient: new Float32Array(size) };
}
