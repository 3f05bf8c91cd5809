import { defineMethod, gatherTop, scoresOf, whole } from "./method.ts";

interface ExpectedSettings {
  readonly n_future_positions: number;
  readonly n_sink: number;
  readonly use_covariance: boolean;
  readonly use_vnorm: boolean;
  readonly epsilon: number;
}

/** Keeps what queries of the prompt's distribution would look at from the coming positions (Devoto et al. 2025; kvpress' ExpectedAttentionPress). */
export const expectedAttention = defineMethod<ExpectedSettings>({
  settings: {
    n_future_positions: whole(512, 1, 4096),
    n_sink: whole(4, 0, 1024),
    use_covariance: { kind: "choice", usual: true },
    use_vnorm: { kind: "choice", usual: true },
    epsilon: { kind: "real", least: 0, most: 1, usual: 0 },
  },
  queryAgnostic: true,
  need: ({ n_sink }) => ({ kind: "moments", sinks: n_sink }),
  record(batch, { n_future_positions, n_sink, use_covariance, use_vnorm, epsilon }) {
    const { step, pages, jobs, shape, scale, prompts } = batch, scores = scoresOf(batch);
    const angles = new Float32Array(jobs.jobs * shape.headDim), means = new Map<number, Float32Array>();
    let job = 0;
    for (const { slots } of prompts) {
      const mean = means.get(slots[0]) ?? batch.rotary.mean(slots[0], n_future_positions);
      means.set(slots[0], mean);
      for (let layer = 0; layer < slots.length; layer++) angles.set(mean, job++ * shape.headDim);
    }
    const rotary = step.upload(jobs.jobs, shape.headDim, angles);
    step.kvExpected({
      ...{ pages, jobs, shape, scale, rotary, sinks: n_sink, epsilon, scores },
      covariance: use_covariance,
      valueNorm: use_vnorm,
    });
    gatherTop(batch, scores);
  },
});
