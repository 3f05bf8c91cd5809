import assert from "node:assert/strict";
import { decodingPromptSlots, heldByteMs } from "../../../bench/load/kv_formula.ts";
import { agreementText, pairedRatio, ratioText } from "../../../bench/report/agreement.ts";
import { roundsByStart, roundsText, startsText, turns } from "../../../bench/experiments/rounds.ts";
import { policies } from "../../../bench/experiments/policies.ts";
import { peers } from "../../../bench/experiments/peers.ts";
import { coloursOf } from "../../../bench/report/colours.ts";
import { markdownTable, number, percent, plain } from "../../../bench/report/markdown.ts";
import { medians } from "../../../bench/report/medians.ts";
import { linePlot } from "../../../bench/report/plots.ts";
import {
  formatCsv,
  numberOf,
  parseCsv,
  ResultTable,
  type Row,
  stopped,
} from "../../../bench/report/table.ts";
import { centre } from "../../../bench/centre.ts";
import { percentile } from "../../../bench/percentile.ts";
import { spread } from "../../../bench/load/figures.ts";

Deno.test("percentile lies between neighbours in proportion", () => {
  assert.equal(percentile([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(percentile([1, 2, 3, 4, 5], 0.9), 4.6);
  assert.equal(percentile([7], 0.99), 7);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

Deno.test("spread leaves out what does not exist", () => {
  const { p50, mean, max } = spread([3, NaN, 1, 2]);
  assert.deepEqual([p50, mean, max], [2, 2, 3]);
});

Deno.test("CSV comes back as it was written, with quotes, commas, empty fields and later columns", () => {
  const rows: Row[] = [
    { cell: "a,b", text: 'says "x"', value: 1.5, none: NaN },
    { cell: "c", text: "", value: -2, more: "2× 429" },
  ];
  const read = parseCsv(formatCsv(rows));
  assert.deepEqual(read[0], { cell: "a,b", text: 'says "x"', value: 1.5, none: "", more: "" });
  assert.deepEqual(read[1], { cell: "c", text: "", value: -2, none: "", more: "2× 429" });
  assert.ok(Number.isNaN(numberOf(read[0], "none")));
});

Deno.test("a table that goes on knows the cells that it has, and not those that were stopped", () => {
  const path = Deno.makeTempFileSync({ suffix: ".csv" });
  try {
    const first = new ResultTable(path, false);
    first.append({ cell: "one", value: 1 });
    first.append({ cell: "two", value: 2, late: "x" });
    const again = new ResultTable(path, true);
    assert.equal(again.find("two")?.late, "x");
    assert.equal(again.find("three"), undefined);
    first.append(stopped({ cell: "three", value: 3 }));
    const last = new ResultTable(path, true);
    assert.deepEqual([last.rows.length, last.find("three")], [2, undefined]);
    assert.match(Deno.readTextFileSync(path), /^three \(stopped\),3/m);
    assert.equal(new ResultTable(path, false).rows.length, 0);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("markdownTable writes numbers with their digits and a dash for none", () => {
  assert.equal(
    markdownTable([{ a: "x|y", b: 1.25, c: 0.5 }, { a: "z", b: NaN }], [
      plain("A", "a"),
      number("B", "b"),
      percent("C", "c"),
    ]),
    "| A | B | C |\n| --- | --- | --- |\n| x\\|y | 1.3 | 50.0 % |\n| z | – | – |",
  );
});

Deno.test("medians joins rounds and leaves out what was not measured in one", () => {
  const rows = [
    { cell: "a1", server: "a", load: 1, value: 1, other: NaN },
    { cell: "a2", server: "a", load: 1, value: 5, other: 3 },
    { cell: "a3", server: "a", load: 1, value: 2, other: "" },
    { cell: "b1", server: "b", load: 1, value: 7, other: 8 },
  ];
  assert.deepEqual(medians(rows, ["server", "load"]), [
    { cell: "a1", server: "a", load: 1, value: 2, other: 3, rounds: 3 },
    { cell: "b1", server: "b", load: 1, value: 7, other: 8, rounds: 1 },
  ]);
});

Deno.test("a name has the same colour whatever stands beside it, and no two share one", () => {
  assert.equal(coloursOf(["dynamic", "p1c1d8"])[0], coloursOf(["fcfs", "dynamic"])[1]);
  const names = ["dynamic", "fcfs", "p1c1d8", "p2c2d8", "p3c3d6", "p4c4d8"];
  assert.equal(new Set(coloursOf(names)).size, names.length);
  assert.equal(new Set(coloursOf(["fastcache", "x", "y"])).size, 3);
});

Deno.test("linePlot leaves out points that a logarithmic axis has no place for", () => {
  const spec = JSON.stringify(linePlot({
    name: "n",
    title: "t",
    rows: [{ x: 1, y: 0, s: "dynamic" }, { x: 2, y: 5, s: "dynamic" }, { x: 4, y: NaN, s: "dynamic" }],
    x: { field: "x", title: "load", log: true },
    y: [{ field: "y", title: "ms", log: true }],
    series: { field: "s", title: "policy" },
  }));
  assert.match(spec, /"values":\[\{"x":2,"y":5,"series":"dynamic"\}\]/);
  assert.match(spec, /"title":"load"/);
});

const figures = (requestsPerSecond: number, ttftMs: number) => ({
  ...{
    requests: 200,
    answered: 200,
    refused: 0,
    errors: 0,
    workload: "gqa-vqa",
    compress: "none",
    right: 0.9,
  },
  ...{
    offered_per_s: 10,
    bound_per_s: 20,
    end_to_end_p50_ms: 100,
    requests_per_s: requestsPerSecond,
    goodput_per_s: 1,
  },
  ...{ ttft_p50_ms: ttftMs, ttft_p90_ms: 2 * ttftMs, ttft_p99_ms: 3 * ttftMs, ttft_paper_p50_ms: ttftMs / 2 },
});

Deno.test("the report of policies says dynamic's ratios and the share of the bound", () => {
  const { text, plots } = policies.report([
    { cell: "p1c1d8/2x", policy: "p1c1d8", load: 2, round: 1, ...figures(5, 300), capacity_per_s: 5 },
    { cell: "dynamic/2x", policy: "dynamic", load: 2, round: 1, ...figures(9, 100), capacity_per_s: 5 },
  ]);
  assert.match(text, /TTFT p50, dynamic against p1c1d8 at 2x: 0\.33 \(0\.33 to 0\.33\)/);
  assert.match(text, /\| 2x \| dynamic \| 10\.0 \| 9\.0 \| 1\.0 \| 90\.0 % \| 0\.0 % \|/);
  assert.match(text, /closed loops of 16 clients: 5\.0 requests\/s/);
  assert.deepEqual(plots.map(({ name }) => name), ["policies-ttft", "policies-throughput"]);
});

Deno.test("policies tells and compares the 99th percentile only of 200 requests, and marks it of fewer than 200 answers", () => {
  const rows = (requests: number, answered = requests) =>
    ["dynamic", "p1c1d8"].map((policy) => ({
      ...{
        cell: policy,
        policy,
        load: 1,
        round: 1,
        ...figures(10, 100),
        itl_p99_ms: 41,
        lateness_p99_ms: 42,
      },
      ...{ requests, answered },
    }));
  const names = (all: readonly Row[]) => policies.ratios!(all).map(({ name }) => name.slice(0, 8));
  assert.deepEqual(names(rows(200)), ["answered", "goodput/", "TTFT p50", "TTFT p90", "TTFT p99"]);
  assert.deepEqual(names(rows(199)), ["answered", "goodput/", "TTFT p50", "TTFT p90"]);
  // Nor does the table of 199 requests have one, or a share of the bound.
  assert.match(policies.report(rows(200)).text, /\| 100\.0 % \| .* \| 100 \| 200 \| 300 \|/);
  const short = policies.report(rows(199)).text;
  assert.match(short, /\| – \| .* \| 100 \| 200 \| – \|/);
  assert.match(short, /fewer than 200 requests tell neither/);
  assert.doesNotMatch(short, /4[12]\.0/);
  // Of 130 answers it is there with a mark, and so is what does not depend on them.
  const few = policies.report(rows(200, 130)).text;
  assert.match(few, /\| 100 \| 200 \| 300\* \| .* \| 41\.0 \| .* \| 42\.0 \| 200 \| 130 \| 1 \|/);
  assert.match(few, /\*: of fewer than 200 answers/);
  assert.match(few, /At 1x the ratio of p99 has cells of fewer than 200 answers/);
  assert.doesNotMatch(policies.report(rows(200)).text, /\*/);
});

Deno.test("the report of policies says 90 % everywhere only if every load tells its share of the bound", () => {
  const at = (load: number, requests: number, perSecond = 10) => ({
    ...{ cell: `dynamic/${load}`, policy: "dynamic", load, round: 1, ...figures(perSecond, 100) },
    requests,
  });
  const text = (...rows: readonly Row[]) => policies.report(rows).text;
  assert.match(text(at(0.5, 30), at(1, 30)), /to the bound is not told: cells of fewer than 200 requests\./);
  assert.doesNotMatch(text(at(0.5, 30), at(1, 30)), /everywhere|What happens beyond/);
  assert.match(text(at(0.5, 200), at(2, 200)), /100\.0 % at 2x of the bound: everywhere 90 % and more\./);
  assert.match(text(at(0.5, 200), at(2, 200, 8)), /80\.0 % at 2x of the bound: not everywhere 90 %/);
  const some = text(at(0.5, 30), at(1, 30), at(2, 240), at(4, 240));
  assert.match(some, /came to 100\.0 % at 2x, 100\.0 % at 4x of the bound: at all of these 90 % and more\./);
  assert.match(some, /At 0\.5x, 1x it is not told: cells of fewer than 200 requests\./);
  assert.match(some, /dynamic at 4x: .*;\n- dynamic at 2x: .*TTFT p99 of the 200 answered 300 ms\./);
});

Deno.test("the report of policies says how old a capacity may be, and the turns of each load", () => {
  const turn = (load: number, round: number, age: number) => ({
    ...{ cell: `${load}/${round}`, policy: "dynamic", load, round, ...figures(9, 100) },
    ...{ capacity_per_s: 10, capacity_age_s: age },
  });
  const { text } = policies.report([turn(0.5, 1, 3), turn(0.5, 2, 9), turn(4, 1, 240)]);
  assert.match(text, /10\.0 to 10\.0; the oldest loop .* began 240 s before it at most, 9 s in half/);
  assert.match(text, /Turns of what is compared: 2 at 0\.5x, 1 at 4x\./);
});

Deno.test("roundsText says how many rounds rows of medians are of", () => {
  assert.equal(roundsText([{ rounds: 8 }, { rounds: 8 }]), "8 rounds");
  assert.equal(roundsText([{ rounds: 3 }, { rounds: 8 }, { rounds: 1 }]), "1 to 8 rounds");
});

Deno.test("startsText counts what is compared by the start of its servers", () => {
  const rows = (...starts: readonly number[]) => starts.map((start) => ({ start }));
  assert.match(startsText(rows(1, 2, 1)), /: 2 after the first start, 1 after another start\.$/);
  assert.match(startsText(rows(1, 1)), /started once/);
  assert.equal(startsText([{ round: 1 }]), "");
});

Deno.test("the report of peers shows the ratio that two runs are compared by", () => {
  const row = (server: string, round: number, perSecond: number) => ({
    ...{ cell: `${server}${round}`, server, round, pictures: "fresh", clients: 16 },
    ...figures(perSecond, 50),
  });
  const rows = [
    ...[40, 60, 50].map((perSecond, round) => row("fastcache", round, perSecond)),
    ...[20, 20, 10].map((perSecond, round) => row("other", round, perSecond)),
  ];
  const { text } = peers.report(rows);
  const [{ value }] = peers.ratios!(rows);
  assert.match(text, /\| fresh \| 16 \| fastcache \| 50\.0 \| – \|/);
  // Of 2, 3 and 5, not 50 by 20.
  assert.ok(text.includes(`| fresh | 16 | other | 20.0 | ${value.toFixed(2)} |`), text);
  assert.equal(value.toFixed(6), "3.000000");
  assert.match(text, /requests\/s, fastcache against other, fresh, 16 clients: 3\.00 \(2\.00 to 5\.00\)/);
});

Deno.test("centre is not moved by one far value, and is the middle of even ones", () => {
  assert.equal(centre([1, 2, 3, 4]), 2.5);
  assert.ok(Math.abs(centre([1, 1.1, 0.9, 1.05, 0.95, 50]) - 1) < 0.1);
  assert.ok(Number.isNaN(centre([])));
  // Of three values too, where half of the pairs have the far one.
  assert.deepEqual([centre([1, 1, 50]), centre([1, 1.2, 50]), centre([1, 3])], [1, 1.2, 2]);
});

Deno.test("pairedRatio takes each round by itself and counts those in which a side has nothing", () => {
  const rows = (values: readonly number[]) => values.map((x, i) => ({ round: i + 1, x }));
  // The machine has half its pace in the second round: of both sides.
  const [{ value, ...rest }] = pairedRatio("r", rows([20, 10, 40, 40, 9]), rows([10, 5, 10, 10]), "x");
  assert.deepEqual(rest, { name: "r", least: 2, most: 4, rounds: 4, without: 0 });
  // Ten pairs of rounds: 2, 2, 2, √8 four times, 4, 4 and 4.
  assert.ok(Math.abs(value - Math.sqrt(8)) < 1e-9, String(value));
  const [none] = pairedRatio("r", rows([0, 3]), rows([1, NaN]), "x");
  assert.equal(ratioText(none), "none, a side has 0 or nothing in all 2 rounds");
  const [some] = pairedRatio("r", rows([0, 3]), rows([1, 2]), "x");
  assert.equal(ratioText(some), "1.50 (1.50 to 1.50, without 1 rounds in which a side has 0 or nothing)");
  assert.deepEqual(pairedRatio("r", [], rows([1]), "x"), []);
});

Deno.test("agreementText sets the ratios of two runs side by side and counts those that agree", () => {
  const run = (throughput: number, ttft: number) =>
    policies.ratios!([
      { cell: "p1c1d8/2x", policy: "p1c1d8", load: 2, round: 1, ...figures(5, 300) },
      { cell: "dynamic/2x", policy: "dynamic", load: 2, round: 1, ...figures(throughput, ttft) },
    ]);
  const text = agreementText(run(10, 100), run(11, 150));
  const name = "dynamic against p1c1d8 at 2x";
  const near = `| answered/s, ${name} | 1 | 2.00 (2.00 to 2.00) | 2.20 (2.20 to 2.20) | 10.0 % |`;
  const far = `| TTFT p50, ${name} | 1 | 0.33 (0.33 to 0.33) | 0.50 (0.50 to 0.50) | 50.0 % |`;
  assert.ok(text.includes(near) && text.includes(far), text);
  assert.match(text, /2 of 5 ratios agree within 15 %/);
});

Deno.test("agreementText shows a ratio that one run has not, as one that does not agree", () => {
  const one = (value: number) => pairedRatio("r", [{ round: 1, x: value }], [{ round: 1, x: 2 }], "x");
  for (const [second, text] of [[one(0), "none, a side has 0"], [[], "not measured"]] as const) {
    const page = agreementText(one(4), second);
    assert.ok(page.includes(`| r | 1 | 2.00 (2.00 to 2.00) | ${text}`), page);
    assert.match(page, /0 of 1 ratios agree/);
  }
});

Deno.test("roundsByStart keeps the rounds of a start together", () => {
  assert.deepEqual(roundsByStart(8), [[1, 2, 3, 4], [5, 6, 7, 8]]);
  assert.deepEqual(roundsByStart(3), [[1, 2], [3]]);
  assert.deepEqual(roundsByStart(1), [[1]]);
});

Deno.test("turns begins every other round with the last side", () => {
  assert.deepEqual([1, 2, 3].map((round) => turns(["a", "b", "c"], round).join("")), ["abc", "cba", "abc"]);
});

Deno.test("heldByteMs counts whole pages by stage, and a whole reservation where the pool is contiguous", () => {
  const answer = {
    ...{ firstTextMs: 0, lastMs: 0, gapsMs: [], text: "", cachedTokens: 0 },
    ...{ promptTokens: 40, completionTokens: 4, kv: { keptTokens: 8, bytesBefore: 480, bytesAfter: 160 } },
    stages: {
      prefill: { waitMs: 100, runMs: 10 },
      compress: { waitMs: 3, runMs: 2 },
      decode: { waitMs: 20, runMs: 40 },
    },
  };
  const layout = { tokenBytes: 10, pageSlots: 16 };
  // 40 slots are three pages of 160 bytes, 8 to 11 are one.
  assert.deepEqual(heldByteMs({ answer, maxTokens: 30 }, { ...layout, contiguous: false }), {
    prompts: 480 * 15 + 160 * 2,
    decoding: 160 * 60,
  });
  // 8 and 29 more are three pages too.
  assert.deepEqual(heldByteMs({ answer, maxTokens: 30 }, { ...layout, contiguous: true }), {
    prompts: 960 * 15,
    decoding: 960 * 60,
  });
  const raw = { ...answer, kv: null };
  assert.deepEqual(
    heldByteMs({ answer: raw, maxTokens: 30 }, { ...layout, contiguous: true }).decoding,
    800 * 60,
  );
  assert.equal(decodingPromptSlots([{ answer, maxTokens: 30 }, { answer: raw, maxTokens: 30 }]), 24);
});
