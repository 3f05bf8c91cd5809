import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { PlanTrace } from "../../../lib/cli/plan_trace.ts";
import { planRecord } from "../../../scheduler/trace.ts";
import { planView } from "../../support/plan_view.ts";

const decode = planRecord(planView(), { step: { kind: "decode", items: [0, 1] }, held: [] });
const idle = planRecord(planView(), { step: { kind: "idle" }, held: [] });

/** What a trace leaves in its file when `write` has written to it; the file had other lines before. */
async function traced(write: (trace: PlanTrace, read: () => string[]) => void): Promise<string[]> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "older\n".repeat(1000));
    const read = () => Deno.readTextFileSync(path).split("\n").filter((line) => line !== "");
    const trace = PlanTrace.open(path);
    write(trace, read);
    trace.close();
    return read();
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("PlanTrace writes each decision as a line of JSON, in order, over what was there", async () => {
  const lines = await traced((trace) => {
    for (const record of [decode, idle, decode]) trace.write(record);
  });
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [decode, idle, decode]);
});

Deno.test("PlanTrace writes idleness once, however often it is decided", async () => {
  const lines = await traced((trace) => {
    for (const record of [idle, idle, decode, idle, idle, idle]) trace.write(record);
  });
  assert.deepEqual(lines.map((line) => JSON.parse(line).step), ["idle", "decode", "idle"]);
});

Deno.test("PlanTrace has everything in the file whenever the scheduler is idle, and holds few lines back", async () => {
  await traced((trace, read) => {
    trace.write(decode);
    trace.write(idle);
    assert.equal(read().length, 2);
    for (let index = 0; index < 1000; index++) trace.write(decode);
    assert(read().length > 700);
  });
});

Deno.test("PlanTrace.open says which file cannot be written", () => {
  assert.throws(
    () => PlanTrace.open("/nowhere/at/all"),
    (error) => error instanceof StartError && error.message.startsWith("--plan-trace /nowhere/at/all: "),
  );
});
