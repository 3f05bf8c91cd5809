/** Rounds of the bench on real servers: what they leave in the table, and what a stop leaves. */
import assert from "node:assert/strict";
import { Bench, type BenchOptions } from "../../bench/experiments/experiment.ts";
import { closedLoop, runRound, type Side, WarmServers } from "../../bench/experiments/rounds.ts";
import { numberOf, ResultTable } from "../../bench/report/table.ts";

const OPTIONS: BenchOptions = {
  ...{ seed: "1", quick: true, requests: null, workload: null, outputTokens: 2, data: null },
  ...{ contextTokens: 0, imageTokens: 0, fresh: false, compress: null, methods: [], peers: [] },
  ...{ clients: null, rates: null, rounds: null, connectionsMax: 16, timeoutMs: 20_000 },
  targets: { ttftMs: null, tpotMs: null, endToEndMs: null },
  serverFlags: ["--backend", "wasm", "--threads", "1", "--kv-memory", "16MiB"],
  deadlineMs: Infinity,
};
const SIDES: readonly Side[] = ["dynamic", "fcfs"].map((policy) => ({
  ...{ name: policy, flags: ["--policy", policy], columns: { policy } },
}));

Deno.test("runRound: sides in turn on servers that stay, a round measured again at another pace, a stop's finished side kept", async () => {
  const path = Deno.makeTempFileSync({ suffix: ".csv" });
  const controller = new AbortController();
  // A reading before each round and one after each side. The second round is slow at first; in the third one Ctrl-C comes
  // when its first side is over.
  const readings = [58, 57, 56, 40, 39, 38, 58, 57, 56, 58, 57];
  let read = 0;
  const pace = {
    best: 58,
    read: () => {
      const reading = readings[read++];
      if (read === readings.length) controller.abort();
      return Promise.resolve(reading);
    },
  };
  const table = new ResultTable(path, false);
  const bench = new Bench(OPTIONS, table, controller.signal, { commit: "x" }, () => {}, pace);
  const starts: string[] = [];
  try {
    await using servers = new WarmServers(bench, "gqa-vqa", 2);
    for (const round of [1, 2, 3]) {
      await runRound(bench, servers, SIDES, {
        ...{ name: "", round, workload: "gqa-vqa", count: 4, given: closedLoop },
      });
      starts.push((await servers.get(SIDES[0])).client.target.url);
    }
  } finally {
    controller.abort();
  }
  assert.equal(new Set(starts).size, 1);
  assert.equal(read, readings.length);
  const seen = table.rows.map((row) => [row.cell, row.answered, row.tries, row.pace_before, row.pace_after]);
  assert.deepEqual(seen, [
    ["dynamic/round 1", 4, 1, 58, 57],
    ["fcfs/round 1", 4, 1, 57, 56],
    // Every other round begins with the last side.
    ["fcfs/round 2", 4, 2, 58, 57],
    ["dynamic/round 2", 4, 2, 57, 56],
  ]);
  assert.ok(table.rows.every((row) => numberOf(row, "requests_per_s") > 0 && row.commit === "x"));
  assert.match(Deno.readTextFileSync(path), /^dynamic\/round 3 \(stopped\),/m);
  assert.doesNotMatch(Deno.readTextFileSync(path), /^fcfs\/round 3/m);
  Deno.removeSync(path);
});

Deno.test("runRound starts no further server, and measures nothing, after a stop during a start", async () => {
  const path = Deno.makeTempFileSync({ suffix: ".csv" });
  const controller = new AbortController();
  const pace = { best: 58, read: () => Promise.resolve(58) };
  const table = new ResultTable(path, false);
  const bench = new Bench(OPTIONS, table, controller.signal, {}, () => {}, pace);
  const started: string[] = [];
  // Ctrl-C when the first one is about to start.
  const sides = SIDES.map((side): Side => ({
    ...side,
    get flags() {
      started.push(side.name);
      controller.abort();
      return side.flags;
    },
  }));
  let given = 0;
  await using servers = new WarmServers(bench, "gqa-vqa", 2);
  await runRound(bench, servers, sides, {
    ...{ name: "", round: 1, workload: "gqa-vqa", count: 4 },
    given: async () => {
      given++;
      return await closedLoop();
    },
  });
  assert.deepEqual([started, given, table.rows.length], [["dynamic"], 0, 0]);
  Deno.removeSync(path);
});
