/** Ctrl-C: once, the run ends with what it has; twice, the program ends. */

export function stopOnInterrupt(say: (line: string) => void): AbortSignal {
  const controller = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    if (controller.signal.aborted) Deno.exit(130);
    say("stopping: what is in flight is given up, what was measured is kept");
    controller.abort();
  });
  return controller.signal;
}
