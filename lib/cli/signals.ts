/** What a server does with the signals that it gets: the first one drains, a later Ctrl-C ends at once. */
import type { Clock } from "../core/clock.ts";

/** One Ctrl-C comes twice where `deno task` or npx passes on what the terminal has sent to the whole group already. */
const SAME_PRESS_MS = 1_000;

/** What to do about a signal. */
export type SignalAction = "drain" | "ignore" | "end";

/** Decides signal by signal. A repeated SIGTERM is ignored: whoever sends it sends SIGKILL when its patience ends. */
export class StopSignals {
  readonly #clock: Clock;
  #firstMs: number | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  decide(signal: Deno.Signal): SignalAction {
    const now = this.#clock.now();
    if (this.#firstMs === null) {
      this.#firstMs = now;
      return "drain";
    }
    return signal === "SIGTERM" || now - this.#firstMs < SAME_PRESS_MS ? "ignore" : "end";
  }
}

/** Calls `act` for each signal that asks this process to stop. */
export function onStopSignal(act: (signal: Deno.Signal) => void): void {
  // Windows knows no SIGTERM.
  const names: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  for (const name of names) Deno.addSignalListener(name, () => act(name));
}
