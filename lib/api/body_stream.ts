/**
 * A response body that is pulled: a piece is made when the reader has room for it, so a slow reader pauses its own
 * request and no other.
 */
import type { Clock } from "../core/clock.ts";

const ENCODER = new TextEncoder();

/**
 * How long the status waits for the first piece. Deno 2.9.6 tells nobody of a client that goes away while its handler
 * is pending, once the request's body is larger than about 2 KiB (any picture): neither `request.signal` nor
 * `info.completed`. The stream of a response is cancelled at once, so the response is made early, and what fails later
 * than this travels in the body under status 200. When the signal of a pending handler fires for every body, a whole
 * answer can wait for its end and a stream for `Silence.afterMs`, and this constant goes.
 */
export const STATUS_WAIT_MS = 1_000;

/** What a body writes while nothing comes, so that proxies keep the connection. */
export interface Silence {
  readonly piece: string;
  readonly afterMs: number;
}

interface BodyOptions {
  readonly clock: Clock;
  readonly silence: Silence | null;
  /** The piece that tells the reader of an open body of an error; null when there is none to tell. */
  readonly failed: (thrown: unknown) => string | null;
  /** The reader has gone away. */
  readonly cancelled: () => void;
  /** Called once when nothing more will be sent. */
  readonly ended: () => void;
}

type Step = IteratorResult<string> | "silent";

/** `promise`, or "silent" if it has not settled after `ms`. */
function within<T>(promise: Promise<T>, clock: Clock, ms: number): Promise<T | "silent"> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(ms, () => resolve("silent"));
    promise.then(resolve, reject).finally(stop);
  });
}

/**
 * Waits for the first piece and then opens the body. An error before it is thrown, so that it can still become a
 * status; after {@link STATUS_WAIT_MS} the body opens all the same, and errors travel inside it.
 */
export async function openBody(
  pieces: AsyncGenerator<string>,
  { clock, silence, failed, cancelled, ended }: BodyOptions,
): Promise<ReadableStream<Uint8Array>> {
  // Asked for when the reader pulls, not ahead: a rejection always has somebody who waits for it.
  let pending: Promise<IteratorResult<string>> | null = pieces.next();
  let opening: Step | null = await within(pending, clock, STATUS_WAIT_MS);
  // Silence before the first piece is told at once where it may be told: the reader sees that it was heard.
  if (opening === "silent" && silence === null) opening = null;
  let open = true;

  async function step(): Promise<Step> {
    const next = pending ??= pieces.next();
    const outcome = opening ?? await (silence === null ? next : within(next, clock, silence.afterMs));
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
      let piece: string | null;
      let last = false;
      try {
        const outcome = await step();
        piece = outcome === "silent" ? silence?.piece ?? null : outcome.done ? null : outcome.value;
        last = piece === null;
      } catch (error) {
        piece = failed(error);
        last = true;
      }
      if (!open) return;
      if (piece !== null) controller.enqueue(ENCODER.encode(piece));
      if (!last) return;
      controller.close();
      end();
    },
    async cancel() {
      cancelled();
      end();
      await pieces.return(undefined);
    },
  }, { highWaterMark: 0 });
}
