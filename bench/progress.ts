/** One line that says how far a run is, on a terminal; elsewhere nothing. */
import { percentile } from "./percentile.ts";
import type { Sent } from "./load/run.ts";

const BAR_CELLS = 24;
/** The line is written at most this often. */
const REDRAW_MS = 100;

export class Progress {
  readonly #ttftMs: number[] = [];
  readonly #terminal = Deno.stderr.isTerminal();
  #sent = 0;
  #ended = 0;
  #refused = 0;
  #failed = 0;
  #drawnMs = -Infinity;

  constructor(
    private readonly label: string,
    private readonly total: number,
    private readonly now: () => number,
  ) {}

  /** Called as requests are sent (null) and end; `startMs` is when the run began. */
  watch(sent: Sent | null, startMs: number): void {
    if (sent === null) this.#sent++;
    else {
      this.#ended++;
      const { reply, dueMs } = sent;
      if (reply.kind === "answer") this.#ttftMs.push(reply.answer.firstTextMs - startMs - dueMs);
      if (reply.kind === "refused") this.#refused++;
      if (reply.kind === "error") this.#failed++;
    }
    if (this.#terminal && this.now() - this.#drawnMs >= REDRAW_MS) this.#draw();
  }

  /** Takes the line away. */
  end(): void {
    if (this.#terminal) this.#write("");
  }

  line(): string {
    const full = Math.floor(BAR_CELLS * this.#ended / this.total);
    const bar = "█".repeat(full) + "·".repeat(BAR_CELLS - full);
    const at = (p: number) => this.#ttftMs.length === 0 ? "–" : percentile(this.#ttftMs, p).toFixed(0);
    const trouble = (count: number, word: string) => count === 0 ? "" : `  ${count} ${word}`;
    return `${this.label} ${bar} ${this.#ended}/${this.total}  ${this.#sent - this.#ended} in flight` +
      `  TTFT p50 ${at(0.5)} p99 ${at(0.99)} ms` +
      trouble(this.#refused, "refused") + trouble(this.#failed, "failed");
  }

  #draw(): void {
    this.#drawnMs = this.now();
    this.#write(this.line());
  }

  /** Back to the line's beginning, the rest of it cleared. */
  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
