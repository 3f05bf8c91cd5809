import { assert } from "../core/assert.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { RequestError } from "../core/errors.ts";
import { WAITING_REQUESTS_MAX } from "../core/limits.ts";
import { log } from "../core/log.ts";
import { readHeader } from "./header.ts";
import type { ImagePreparer, ImageProcessorConfig, PictureHeader, PreparedImage } from "./image.ts";
import { parseError } from "./parse_error.ts";
import type { PrepareJob, PrepareResult } from "./worker.ts";

export interface PreparerOptions {
  /** Threads; by default two where the machine has four cores or more, else one. */
  readonly threads?: number;
  /** Pictures that may wait for a thread before new ones are refused. */
  readonly waitingMax?: number;
  /** A decode that takes longer is given up, and its thread with it. */
  readonly decodeMsMax?: number;
  readonly clock?: Clock;
  /** Starts a thread that answers each {@link PrepareJob} with a {@link PrepareResult}. */
  readonly startThread?: () => Worker;
}

/** The slowest pictures that the limits allow (64 million pixels of WebP) take about five seconds; this is a hung decoder. */
const DECODE_MS_MAX = 30_000;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly param: string;
  readonly resolve: (image: PreparedImage) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  worker: Worker;
  /** The picture it works on; null while it is idle. */
  job: Waiting | null;
  cancelTimer: () => void;
}

/** Starts the threads that prepare pictures for a tower of the given processor. */
export function startPreparer(config: ImageProcessorConfig, options: PreparerOptions = {}): ImagePreparer {
  return new ThreadedPreparer(config, options);
}

function startDecodeThread(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "pictures" });
}

class ThreadedPreparer implements ImagePreparer {
  readonly #config: ImageProcessorConfig;
  readonly #waitingMax: number;
  readonly #decodeMsMax: number;
  readonly #clock: Clock;
  readonly #startThread: () => Worker;
  readonly #threads: Thread[];
  readonly #queue: Waiting[] = [];
  #closed = false;

  constructor(config: ImageProcessorConfig, options: PreparerOptions) {
    this.#config = config;
    this.#waitingMax = options.waitingMax ?? WAITING_REQUESTS_MAX;
    this.#decodeMsMax = options.decodeMsMax ?? DECODE_MS_MAX;
    this.#clock = options.clock ?? systemClock;
    this.#startThread = options.startThread ?? startDecodeThread;
    const threads = options.threads ?? (navigator.hardwareConcurrency >= 4 ? 2 : 1);
    assert(threads >= 1, "a preparer needs a thread");
    this.#threads = Array.from({ length: threads }, () => this.#newThread());
  }

  inspect(bytes: Uint8Array, param: string): PictureHeader {
    try {
      return readHeader(bytes);
    } catch (error) {
      throw error instanceof RequestError ? new RequestError(error.code, error.message, param) : error;
    }
  }

  /** Refuses with `rate_limit_exceeded` when too many pictures wait already. `bytes` stay the caller's. */
  prepare(bytes: Uint8Array, param: string): Promise<PreparedImage> {
    assert(!this.#closed, "prepare() after close()");
    if (this.#queue.length >= this.#waitingMax) {
      return Promise.reject(
        new RequestError("rate_limit_exceeded", "Too many images wait to be decoded.", param, 1),
      );
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ bytes, param, resolve, reject });
      this.#dispatch();
    });
  }

  /** Ends the threads. Pictures that are not ready are refused as `draining`. */
  close(): Promise<void> {
    this.#closed = true;
    const open = this.#queue.splice(0);
    for (const thread of this.#threads.splice(0)) {
      const job = this.#release(thread);
      if (job) open.push(job);
      thread.worker.terminate();
    }
    for (const { param, reject } of open) {
      reject(new RequestError("draining", "The server is shutting down.", param));
    }
    return Promise.resolve();
  }

  /** Gives waiting pictures to idle threads. */
  #dispatch(): void {
    for (const thread of this.#threads) {
      if (thread.job) continue;
      const job = this.#queue.shift();
      if (!job) return;
      thread.job = job;
      thread.cancelTimer = this.#clock.after(this.#decodeMsMax, () => this.#replace(thread, "timeout"));
      const bytes = new Uint8Array(job.bytes); // a copy of exactly the file, to give away
      thread.worker.postMessage({ bytes, config: this.#config } satisfies PrepareJob, [bytes.buffer]);
    }
  }

  #newThread(): Thread {
    const thread: Thread = { worker: this.#startThread(), job: null, cancelTimer: () => {} };
    this.#listen(thread);
    return thread;
  }

  #listen(thread: Thread): void {
    const { worker } = thread;
    worker.onmessage = ({ data }: MessageEvent<PrepareResult>) => {
      const job = this.#release(thread);
      if (!job) return;
      if (data.ok) job.resolve(data.image);
      else job.reject(new RequestError(data.code, data.message, job.param));
      this.#dispatch();
    };
    worker.onmessageerror = () => this.#replace(thread, "unreadable answer");
    worker.onerror = (event) => {
      event.preventDefault(); // the thread is dead; the process lives
      if (thread.worker === worker) this.#replace(thread, event.message);
    };
  }

  /** A thread crashed or hangs: its picture is refused, and another thread takes its place. */
  #replace(thread: Thread, reason: string): void {
    if (this.#closed) return;
    log.error("picture_thread_replaced", { reason });
    const job = this.#release(thread);
    thread.worker.terminate();
    thread.worker = this.#startThread();
    this.#listen(thread);
    job?.reject(new RequestError("image_parse_error", parseError("its decoder failed").message, job.param));
    this.#dispatch();
  }

  /** Takes the picture back from a thread and stops its timer. */
  #release(thread: Thread): Waiting | null {
    const { job } = thread;
    thread.cancelTimer();
    thread.cancelTimer = () => {};
    thread.job = null;
    return job;
  }
}
