/** A Prometheus histogram whose observations are kept elsewhere and read when asked. */
import { Histogram as PrometheusHistogram, type Registry } from "prom-client";
import type { Histogram } from "../core/metrics.ts";

export type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly metricName: string;
  readonly labels: Labels;
  readonly value: number;
}

/** Buckets are cumulative, as Prometheus wants them. */
function samples(name: string, labels: Labels, histogram: Histogram): Sample[] {
  const all: Sample[] = [];
  let below = 0;
  for (const [index, count] of histogram.counts.entries()) {
    below += count;
    const le = index < histogram.bounds.length ? String(histogram.bounds[index]) : "+Inf";
    all.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: below });
  }
  all.push({ metricName: `${name}_sum`, labels, value: histogram.sum });
  all.push({ metricName: `${name}_count`, labels, value: histogram.count });
  return all;
}

export class ReadHistogram extends PrometheusHistogram {
  readonly #name: string;
  readonly #help: string;
  readonly #histograms: () => Iterable<readonly [Labels, Histogram]>;

  /** `histograms`: each set of labels with its observations, as of now. */
  constructor(
    registry: Registry,
    name: string,
    help: string,
    histograms: () => Iterable<readonly [Labels, Histogram]>,
  ) {
    super({ name, help, registers: [registry] });
    this.#name = name;
    this.#help = help;
    this.#histograms = histograms;
  }

  /** What the base class's `get` and the registry's text form (prom-client 15.1) both call, though it is not in their types. */
  getForPromString() {
    const values: Sample[] = [];
    for (const [labels, histogram] of this.#histograms()) {
      values.push(...samples(this.#name, labels, histogram));
    }
    return Promise.resolve({
      name: this.#name,
      help: this.#help,
      type: "histogram",
      aggregator: "sum",
      values,
    });
  }
}
