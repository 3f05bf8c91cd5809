import { defineMethod, gatherTop, scoresOf, whole } from "./method.ts";

interface LagSettings {
  readonly n_sink: number;
  readonly lag_size: number;
  /** Compares scores across partitions instead of ranks within them. */
  readonly cross_scoring: boolean;
}

/** Keeps what the partition behind it does not foretell (LagKV, Liang et al. 2025; kvpress' LagKVPress). */
export const lagKv = defineMethod<LagSettings>({
  settings: {
    n_sink: whole(4, 0, 1024),
    lag_size: whole(128, 2, 512),
    cross_scoring: { kind: "choice", usual: false },
  },
  queryAgnostic: true,
  record(batch, { n_sink, lag_size, cross_scoring }) {
    const { pages, jobs } = batch, scores = scoresOf(batch);
    batch.step.kvLag({ pages, jobs, sinks: n_sink, lag: lag_size, cross: cross_scoring, scores });
    gatherTop(batch, scores);
  },
});
