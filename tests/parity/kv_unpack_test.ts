import { testEach } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { readRaw } from "../support/keeps.ts";
import { kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";

for (const bits of [8, 4] as const) {
  testEach(`kvUnpack at ${bits} bits leaves the codes and all other pages as they were`, async (scope) => {
    const shape = { heads: 2, kvHeads: 2, headDim: 32 }, draw = new Draw(9), free = draw.shuffled(60);
    const pages = scope.pages(kvShape("f16", shape, 60));
    const target = free.splice(0, 4),
      keep = free.splice(0, 4),
      other = free.splice(0, 1),
      room = free.splice(0, 4);
    const job = { slots: 64, kept: 64, source: [], target, keep };
    await scope.step((step) => {
      storeRows(step, pages, target, 0, draw.normal(64 * 128));
      storeRows(step, pages, other, 0, draw.normal(16 * 128));
      step.kvPack({ pages, jobs: kvJobs(step, [job]), bits, tail: false });
      return [];
    });
    const words = pages.shape.pageBytes / 4;
    const look = () =>
      scope.step((step) => [
        ...[...keep, ...other, ...target].map((page) => readRaw(step, pages, [page], words)),
      ]);
    const values = () => scope.step((step) => [readValues(step, pages, room, 16, free)]);
    const earlier = await look();
    const unpack = () =>
      scope.step((step) => {
        step.kvUnpack({ pages, jobs: kvJobs(step, [{ ...job, target: room }]), bits });
        return [];
      });
    await unpack();
    const [once] = await values();
    for (const [i, page] of (await look()).entries()) assertSameBits(page, earlier[i], `page ${i}`);
    // Rooms are shared by all layers: what was there before must not matter.
    await scope.step((step) => {
      storeRows(step, pages, room, 0, draw.normal(64 * 128));
      return [];
    });
    await unpack();
    const [again] = await values();
    assertSameBits(again, once, "values");
  });
}
