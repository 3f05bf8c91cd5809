/**
 * Sends the requests of one run. Open loop: each at its time, whatever the server does; its latency counts from that time
 * even when this program was late. Closed loop: so many clients, each with one request at a time.
 */
import type { Clock } from "../../lib/core/clock.ts";
import type { LoadClient, Reply } from "./client.ts";

/** One request that was sent, times from the run's start. */
export interface Sent {
  readonly index: number;
  /** When it was due. In a closed loop, when its client was free. */
  readonly dueMs: number;
  readonly sentMs: number;
  readonly endMs: number;
  readonly reply: Reply;
}

/** What says when a request is sent: its time in an open loop, the end of another one in a closed loop. */
export type Loop =
  | { readonly kind: "open"; readonly timesMs: Float64Array }
  | { readonly kind: "closed"; readonly clients: number };

export interface RunOptions {
  readonly loop: Loop;
  /** Most requests in flight; more wait for a free connection, and that counts as lateness. */
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  /** Ends the run early: nothing more is sent and what is in flight is given up. */
  readonly stop: AbortSignal;
  /** Called as requests are sent (null) and end. */
  readonly watch: (sent: Sent | null) => void;
}

export interface Run {
  /** In the order of their ends. */
  readonly sent: readonly Sent[];
  readonly startMs: number;
  /** Most requests in flight at one time. */
  readonly inFlightMax: number;
}

export async function runLoad(
  client: LoadClient,
  bodies: readonly Uint8Array<ArrayBuffer>[],
  { loop, connectionsMax, timeoutMs, stop, watch }: RunOptions,
  clock: Clock,
): Promise<Run> {
  const sent: Sent[] = [];
  const startMs = clock.now();
  let next = 0, inFlight = 0, inFlightMax = 0;
  const one = async (index: number, dueMs: number) => {
    const sentMs = clock.now() - startMs;
    inFlightMax = Math.max(inFlightMax, ++inFlight);
    watch(null);
    const reply = await client.send(bodies[index], timeoutMs, stop);
    inFlight--;
    // An answer ends with its last token: what the socket does afterwards is not the answer's time.
    const end = reply.kind === "answer" ? reply.answer.lastMs : clock.now();
    const record = { index, dueMs, sentMs, endMs: end - startMs, reply };
    sent.push(record);
    watch(record);
  };
  // A lane is one connection; in an open loop the lane that is free takes the request that is due next.
  const lane = async () => {
    while (next < bodies.length && !stop.aborted) {
      const index = next++;
      let dueMs = clock.now() - startMs;
      if (loop.kind === "open") {
        dueMs = loop.timesMs[index];
        const waitMs = dueMs - (clock.now() - startMs);
        if (waitMs > 0) await pause(waitMs, clock, stop);
        if (stop.aborted) return;
      }
      await one(index, dueMs);
    }
  };
  const lanes = loop.kind === "closed" ? loop.clients : Math.min(connectionsMax, bodies.length);
  await Promise.all(Array.from({ length: lanes }, lane));
  return { sent, startMs, inFlightMax };
}

/** Resolves after `delayMs`, or when the run is stopped. */
function pause(delayMs: number, clock: Clock, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      cancel();
      stop.removeEventListener("abort", over);
      resolve();
    };
    const cancel = clock.after(delayMs, over);
    stop.addEventListener("abort", over);
  });
}
