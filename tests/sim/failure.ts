/** Something that must hold did not. The message says what, what happened before, and how to see it again. */
export class SimulationFailure extends Error {
  override name = "SimulationFailure";

  /** `story`: what happened before, and who is there. */
  constructor(readonly seed: number, deliveries: number, cause: unknown, story: string) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(
      `seed ${seed}: ${why}\n${story}\n` +
        `Replay with: deno task sim --seed ${seed} --deliveries ${deliveries}`,
      { cause },
    );
  }
}
