/** Every method that kvpress has, against what it keeps and how it goes on (tests/fixtures/kvpress). */
import assert from "node:assert/strict";
import { LocalEngine } from "../../lib/engine/local.ts";
import type { CompressSequence } from "../../lib/engine/engine.ts";
import { parseCompression } from "../../lib/engine/compress/settings.ts";
import { openModel } from "../../lib/model/directory.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testDevices, testModel } from "../support/backends.ts";
import { CompressedPrompt, PageDeck, sampledBy } from "../support/compressed.ts";
import { fixtures } from "../support/fixtures.ts";
import {
  compressionOfCase,
  type Continuation,
  type GoldenCase,
  goldenPrompt,
  GOLDENS,
  QUANTISED,
} from "../support/kvpress.ts";

/** Log-probabilities of the recorded alternatives; ids agree where the two best are further apart than twice that. */
const LOGPROB_MAX: Record<KvDtype, number> = { f32: 2e-2, f16: 5e-2 };

/** An f16 key beside a half tips its 4-bit code, a fifteenth of its range: the reference starts from f32 keys. */
const INT4_LOGPROB_MAX: Record<KvDtype, number> = { f32: 2e-2, f16: 2e-1 };

const SIZING = { kvBytes: 24 * 1024 ** 2, maxNumSeqs: 32, maxModelLen: null };
const fixture = fixtures().find(({ name }) => name === "llama-text-tiny")!;

/** Kept slots of one row, without the undefined rest of it. */
function rowsOf(table: Uint32Array, { kept }: CompressSequence, kvHeads: number): number[][][] {
  const width = table.length / kept.length / kvHeads;
  return Array.from(kept, (count, layer) =>
    Array.from({ length: kvHeads }, (_, head) => {
      const at = (layer * kvHeads + head) * width;
      return [...table.subarray(at, at + count)];
    }));
}

/** Sets must be equal outside what a tie leaves open, and of equal size. */
function assertKept(id: string, found: readonly number[][][], one: GoldenCase): void {
  for (const [layer, heads] of one.kept.entries()) {
    for (const [head, expected] of heads.entries()) {
      const open = new Set(one.undecided[layer][head]), own = found[layer][head];
      const decided = (slots: readonly number[]) =>
        slots.filter((slot) => !open.has(slot)).sort((a, b) => a - b);
      assert.deepEqual(decided(own), decided(expected), `${id} layer ${layer} head ${head}`);
      assert.equal(own.length, expected.length, `${id} layer ${layer} head ${head}`);
    }
  }
}

/** The recorded choice as a table to inject, as wide as the largest kept count. */
function tableOf({ kept }: GoldenCase): Uint32Array {
  const rows = kept.flat(), width = Math.max(...rows.map((row) => row.length));
  const table = new Uint32Array(rows.length * width);
  for (const [i, row] of rows.entries()) table.set([...row].sort((a, b) => a - b), i * width);
  return table;
}

/** Feeds the recorded tokens whatever was sampled and compares what each step foretells. */
async function assertContinues(
  id: string,
  prompt: CompressedPrompt,
  { first_token_id, token_ids, position_ids, margins, top }: Continuation,
  logprobMax: number,
): Promise<void> {
  for (const [i, recorded] of top.entries()) {
    const part = prompt.tokenPart(i === 0 ? first_token_id : token_ids[i - 1], i);
    assert.equal(part.positions[0], position_ids[i], `${id}: position ${i}`);
    const [found] = await sampledBy(prompt.engine, [{
      ...part,
      sampling: { ...part.sampling!, logprobs: 20 },
    }]);
    const logprobs = new Map(found.top.map(({ id: token, logprob }) => [token, logprob]));
    for (const [token, logprob] of recorded) {
      const own = logprobs.get(token);
      assert(own !== undefined, `${id} step ${i}: token ${token} is not among the best`);
      const difference = Math.abs(own - logprob);
      assert(
        difference <= logprobMax,
        `${id} step ${i}: log-probability of ${token} differs by ${difference}`,
      );
    }
    if (margins[i] > 2 * logprobMax) assert.equal(found.id, token_ids[i], `${id} step ${i}`);
  }
}

async function check(engine: LocalEngine, kvDtype: KvDtype, one: GoldenCase): Promise<void> {
  const deck = new PageDeck(engine, 7), tokens = Uint32Array.from(goldenPrompt(one.prompt).prompt_token_ids);
  const prompt = new CompressedPrompt(engine, deck, tokens, compressionOfCase(one));
  const { sequence } = prompt;
  assert.deepEqual([...sequence.kept], one.cache_length, one.id);
  const [first] = await sampledBy(engine, [prompt.part(tokens.length)]);
  assert.equal(first.id, one.continuation.first_token_id, one.id);
  const open = kvDtype === "f16" || one.undecided.flat(2).length > 0;
  const table = await engine.observeCompression(
    [sequence],
    open ? new Map([[sequence, tableOf(one)]]) : new Map(),
  );
  if (kvDtype === "f32") {
    assertKept(one.id, rowsOf(table.get(sequence)!, sequence, engine.facts.shape.kvHeads), one);
  }
  await assertContinues(one.id, prompt, one.continuation, LOGPROB_MAX[kvDtype]);
}

const cases = new Map<string, GoldenCase[]>();
for (const one of GOLDENS.cases) cases.set(one.method, [...cases.get(one.method) ?? [], one]);

for (const [method, list] of cases) {
  testModel(`${method} keeps what kvpress keeps and goes on as it does, f32 KV`, async (backend) => {
    const model = await openModel(fixture.dir);
    const engine = new LocalEngine(backend, model, { ...SIZING, kvDtype: "f32" });
    for (const one of list) await check(engine, "f32", one);
    await engine.close();
  });
}

testDevices("what kvpress keeps goes on as it does, f16 KV", async (backend) => {
  const model = await openModel(fixture.dir);
  const engine = new LocalEngine(backend, model, { ...SIZING, kvDtype: "f16" });
  for (const one of GOLDENS.cases) await check(engine, "f16", one);
  await engine.close();
});

for (const kvDtype of ["f32", "f16"] as const) {
  testModel(`a prompt of packed slots goes on as the reference, ${kvDtype} KV`, async (backend) => {
    const model = await openModel(fixture.dir);
    const engine = new LocalEngine(backend, model, { ...SIZING, kvDtype });
    for (const { id, prompt: name, bits, tail, continuation } of QUANTISED) {
      const tokens = Uint32Array.from(goldenPrompt(name).prompt_token_ids), deck = new PageDeck(engine, 7);
      const parsed = parseCompression({ method: "none", quantize: `int${bits}`, tail });
      assert(parsed.ok);
      const prompt = new CompressedPrompt(engine, deck, tokens, parsed.compression);
      await sampledBy(engine, [prompt.part(tokens.length)]);
      await engine.compress([prompt.sequence]);
      await assertContinues(
        id,
        prompt,
        continuation,
        bits === 4 ? INT4_LOGPROB_MAX[kvDtype] : LOGPROB_MAX[kvDtype],
      );
    }
    await engine.close();
  });
}
