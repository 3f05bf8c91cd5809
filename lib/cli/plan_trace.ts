/** The file that `--plan-trace` names: one line of JSON for each decision of the scheduler. */
import { StartError } from "../core/errors.ts";
import type { PlanRecord } from "../../scheduler/trace.ts";

/** Lines that are written together: a file call for each would cost more than the decisions. */
const LINES_MAX = 256;

export class PlanTrace {
  readonly #encoder = new TextEncoder();
  #lines: string[] = [];
  /** An idle server decides the same again whenever somebody knocks; that is written once. */
  #lastIdle = false;

  private constructor(private readonly file: Deno.FsFile) {}

  /** Throws StartError when the file cannot be written. */
  static open(path: string): PlanTrace {
    try {
      return new PlanTrace(Deno.openSync(path, { write: true, create: true, truncate: true }));
    } catch (error) {
      throw new StartError(`--plan-trace ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  write(record: PlanRecord): void {
    const idle = record.step === "idle";
    if (idle && this.#lastIdle) return;
    this.#lastIdle = idle;
    this.#lines.push(JSON.stringify(record));
    if (idle || this.#lines.length >= LINES_MAX) this.#flush();
  }

  close(): void {
    this.#flush();
    this.file.close();
  }

  #flush(): void {
    if (this.#lines.length === 0) return;
    const bytes = this.#encoder.encode(this.#lines.join("\n") + "\n");
    for (let written = 0; written < bytes.length;) written += this.file.writeSync(bytes.subarray(written));
    this.#lines = [];
  }
}
