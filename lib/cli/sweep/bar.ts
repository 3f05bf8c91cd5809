/** One line that says how far a sweep is, on a terminal; elsewhere a line a tenth of it. */
import type { Clock } from "../../core/clock.ts";

const BAR_CELLS = 24;
/** The line is written at most this often. */
const REDRAW_MS = 200;
const TENTHS = 10;

export class Bar {
  readonly #terminal = Deno.stderr.isTerminal();
  readonly #begunMs: number;
  #drawnMs = -Infinity;
  #tenth = 0;

  constructor(private readonly label: string, private readonly total: number, private readonly clock: Clock) {
    this.#begunMs = clock.now();
  }

  show(done: number): void {
    const nowMs = this.clock.now(), tenth = Math.floor(TENTHS * done / this.total);
    if (this.#terminal && nowMs - this.#drawnMs >= REDRAW_MS) {
      this.#drawnMs = nowMs;
      this.#write(`\r\x1b[K${this.#line(done, nowMs)}`);
    }
    if (!this.#terminal && tenth > this.#tenth) this.#write(`${this.#line(done, nowMs)}\n`);
    this.#tenth = tenth;
  }

  /** Takes the line away. */
  end(): void {
    if (this.#terminal) this.#write("\r\x1b[K");
  }

  #line(done: number, nowMs: number): string {
    const full = Math.floor(BAR_CELLS * done / this.total), seconds = (nowMs - this.#begunMs) / 1000;
    const left = seconds / done * (this.total - done);
    return `${this.label} ${"█".repeat(full)}${"·".repeat(BAR_CELLS - full)} ${done}/${this.total}` +
      `  ${(done / seconds).toFixed(0)} a second, ${left.toFixed(0)} s left`;
  }

  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  }
}
