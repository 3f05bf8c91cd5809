import type { ImageProcessorConfig } from "./image.ts";

export type ResampleFilter = ImageProcessorConfig["resample"];

interface Filter {
  /** Half its width, in source places when nothing shrinks. */
  readonly support: number;
  /** Weight at distance `x`; 0 beyond `support`. */
  readonly weight: (x: number) => number;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Keys' cubic with a = -0.5, as Pillow and torchvision (with antialias) use it. */
const CUBIC = -0.5;

/** The interpolation filters, as functions of the distance to the output's centre. */
export const FILTERS: Readonly<Record<Exclude<ResampleFilter, "nearest">, Filter>> = {
  box: { support: 0.5, weight: (x) => x > -0.5 && x <= 0.5 ? 1 : 0 },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI)),
  },
  bicubic: {
    support: 2,
    weight(signed) {
      const x = Math.abs(signed);
      if (x < 1) return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * CUBIC : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0 },
};
