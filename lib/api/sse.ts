/**
 * A stream of server-sent events that is pulled: a frame is made when the reader has room for it, so a slow reader
 * pauses its own request and no other. While nothing comes, comments keep proxies from closing the connection.
 */
import type { Clock } from "../core/clock.ts";

const ENCODER = new TextEncoder();
const KEEP_ALIVE_FRAME = ": keep-alive\n\n";
export const DONE_FRAME = "data: [DONE]\n\n";

export const EVENT_STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

export function dataFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export interface EventStreamOptions {
  readonly clock: Clock;
  /** Silence after which a comment is sent. */
  readonly keepAliveMs: number;
  /** The frame that tells the reader of an open stream of an error; null when there is none to tell. */
  readonly errorFrame: (thrown: unknown) => string | null;
  /** The reader has gone away. */
  readonly cancelled: () => void;
  /** Called once when nothing more will be sent. */
  readonly ended: () => void;
}

/** `promise`, or "silent" if it has not settled after `ms`. */
function within<T>(promise: Promise<T>, clock: Clock, ms: number): Promise<T | "silent"> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(ms, () => resolve("silent"));
    promise.then(resolve, reject).finally(stop);
  });
}

/**
 * Waits for the first frame and then opens the stream. An error before the first frame is thrown, so that it can still
 * become a status; after `keepAliveMs` of silence the stream opens all the same, and errors travel inside it.
 */
export async function openEventStream(
  frames: AsyncGenerator<string>,
  { clock, keepAliveMs, errorFrame, cancelled, ended }: EventStreamOptions,
): Promise<ReadableStream<Uint8Array>> {
  // Asked for when the reader pulls, not ahead: a rejection always has somebody who waits for it.
  let pending: Promise<IteratorResult<string>> | null = frames.next();
  let opening: IteratorResult<string> | "silent" | null = await within(pending, clock, keepAliveMs);
  let open = true;

  async function step(): Promise<IteratorResult<string> | "silent"> {
    const outcome = opening ?? await within(pending ??= frames.next(), clock, keepAliveMs);
    opening = null;
    if (outcome !== "silent") pending = null;
    return outcome;
  }

  function end(): void {
    if (!open) return;
    open = false;
    ended();
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let frame: string | null;
      let last = false;
      try {
        const outcome = await step();
        frame = outcome === "silent" ? KEEP_ALIVE_FRAME : outcome.done ? null : outcome.value;
        last = frame === null;
      } catch (error) {
        frame = errorFrame(error);
        last = true;
      }
      if (!open) return;
      if (frame !== null) controller.enqueue(ENCODER.encode(frame));
      if (!last) return;
      controller.close();
      end();
    },
    async cancel() {
      cancelled();
      end();
      await frames.return(undefined);
    },
  }, { highWaterMark: 0 });
}
