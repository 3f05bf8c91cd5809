/** What the pool holds while caches are written shorter, and of them afterwards. */
import assert from "node:assert/strict";
import { KvPool, type SequencePages } from "../../../pool/mod.ts";
import { keptOf } from "../../../scheduler/compression.ts";
import { compressionBy } from "../../support/compressions.ts";
import { scriptedFacts } from "../../support/scripted_engine.ts";
import { answerTo, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle } from "../../support/scripted_service_end.ts";

const FACTS = { pageSlots: 4, pageCount: 400, stepTokensMax: 400 };

/** Counts what each copy takes of the pool, and what comes back when it is written. */
class WatchedPool extends KvPool {
  readonly copies: { readonly risePages: number; readonly copyPages: number }[] = [];
  readonly fallPages: number[] = [];

  override beginReplacement(pages: SequencePages, kept: ArrayLike<number>): boolean {
    const before = this.usedPages;
    const begun = super.beginReplacement(pages, kept);
    this.copies.push({ risePages: this.usedPages - before, copyPages: this.pagesFor(kept) });
    return begun;
  }

  override finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void {
    const before = this.usedPages;
    super.finishReplacement(pages, writtenMs, nowMs);
    this.fallPages.push(before - this.usedPages);
  }
}

Deno.test("the copies of a compress batch take their own pages and no more, and every raw cache comes back", async () => {
  const pool = new WatchedPool(scriptedFacts(FACTS), { prefixCache: false });
  const service = scriptedService({ facts: FACTS, scheduler: { pool } });
  const compression = compressionBy("knorm", 0.8);
  const answers = await Promise.all(
    [..."ABCDEFGH"].map((letter) =>
      answerTo(service.scheduler, requestOf(letter.repeat(40), { compression }))
    ),
  );
  assert(service.steps.some((step) => /^compress ([2-8])$/.test(step)), "caches are compressed together");
  // 40 tokens are 10 pages in each of two layers, 8 are 2. A batch takes what its members take: nothing comes between them.
  assert.deepEqual(pool.copies, new Array(8).fill({ risePages: 4, copyPages: 4 }));
  assert.deepEqual(pool.fallPages, new Array(8).fill(20));
  for (const { end } of answers) {
    assert(end.type === "finished" && end.compression !== null);
    const { pageBytes } = pool.shape;
    assert.deepEqual(
      [end.compression.bytesBefore, end.compression.bytesAfter],
      [20 * pageBytes, 4 * pageBytes],
    );
  }
  await closeIdle(service);
});

Deno.test("five times smaller, a prompt of 64 tokens and more keeps a quarter of its slots at most, its remainder counted", () => {
  for (const method of ["streaming", "knorm", "mean-pool", "snapkv"] as const) {
    for (let tokens = 64; tokens <= 2048; tokens++) {
      const [kept] = keptOf(compressionBy(method, 0.8), tokens, 1, [])!;
      assert(kept <= tokens / 4, `${method} keeps ${kept} of ${tokens}`);
    }
  }
});
