import type { Parameter } from "./parameter.ts";

const BETA1 = 0.9, BETA2 = 0.98, EPSILON = 1e-8;

/** Adam without weight decay (Kingma and Ba 2015), with the gradient cut to a norm. */
export class Adam {
  /** First and second moments of each parameter. */
  readonly first: readonly Float32Array[];
  readonly second: readonly Float32Array[];

  /** `steps` taken before: more than none when a run is resumed. */
  constructor(readonly parameters: readonly Parameter[], public steps = 0) {
    this.first = parameters.map(({ values }) => new Float32Array(values.length));
    this.second = parameters.map(({ values }) => new Float32Array(values.length));
  }

  zeroGradients(): void {
    for (const { gradient } of this.parameters) gradient.fill(0);
  }

  /** Moves the parameters against their gradients. Returns the norm that the gradient had. */
  step(rate: number, normMax: number): number {
    this.steps++;
    let squares = 0;
    for (const { gradient } of this.parameters) for (const g of gradient) squares += g * g;
    const norm = Math.sqrt(squares);
    const scale = norm > normMax ? normMax / norm : 1;
    const bias1 = 1 - BETA1 ** this.steps, bias2 = 1 - BETA2 ** this.steps;
    for (const [i, { values, gradient }] of this.parameters.entries()) {
      const m = this.first[i], v = this.second[i];
      for (let at = 0; at < values.length; at++) {
        const g = gradient[at] * scale;
        m[at] = BETA1 * m[at] + (1 - BETA1) * g;
        v[at] = BETA2 * v[at] + (1 - BETA2) * g * g;
        values[at] -= rate * (m[at] / bias1) / (Math.sqrt(v[at] / bias2) + EPSILON);
      }
    }
    return norm;
  }
}
