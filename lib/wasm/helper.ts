/** A helper thread: runs its share of every tape until told to end. */
import { workerData } from "node:worker_threads";
import { EXPANSION_BYTES } from "./layout.ts";
import { Machine, type SharedMemories } from "./machine.ts";
import { runTape } from "./tape.ts";
import { Control } from "./threads.ts";

export interface HelperStart {
  readonly memories: SharedMemories;
  readonly thread: number;
  readonly threads: number;
  readonly scratch: number;
  readonly scratchBytes: number;
}

const { memories, thread, threads, scratch, scratchBytes } = workerData as HelperStart;
const machine = new Machine(memories, thread * EXPANSION_BYTES, scratch, scratchBytes);
const control = new Control(memories.memory, thread, threads);
control.report();
for (let epoch = 0;;) {
  const step = control.next(epoch);
  if (step === null) break;
  epoch = step.epoch;
  runTape(machine, machine.u32.subarray(step.tape, step.tape + step.length), control);
  control.leave();
}
