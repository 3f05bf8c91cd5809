/**
 * What the lower layers count. They add to plain numbers; `lib/api/metrics.ts` alone knows Prometheus.
 */

/** Cumulative histogram over fixed upper bounds (seconds), as Prometheus wants it. */
export class Histogram {
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let index = 0;
    while (index < this.bounds.length && value > this.bounds[index]) index++;
    this.counts[index]++;
    this.sum += value;
    this.count++;
  }
}
