/** A helper thread: runs its share of every tape until told to end. */
/// <reference lib="deno.worker" />
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

self.onmessage = (event: MessageEvent<HelperStart>) => {
  const { memories, thread, threads, scratch, scratchBytes } = event.data;
  const machine = new Machine(memories, thread, threads, scratch, scratchBytes);
  const control = new Control(memories.memory, threads);
  const meet = () => control.meet();
  self.postMessage("ready");
  for (let epoch = 0;;) {
    const step = control.next(epoch);
    if (step === null) break;
    epoch = step.epoch;
    const failure = runTape(machine, machine.u32.subarray(step.tape, step.tape + step.length), meet);
    if (failure !== null) control.fail();
    control.meet();
  }
  self.close();
};
