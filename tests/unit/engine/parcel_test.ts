import assert from "node:assert/strict";
import { parcel, unparcel } from "../../../lib/engine/parcel.ts";

Deno.test("unparcel gives back what parcel packed", () => {
  const message = [{
    tables: [Uint32Array.of(1, 2, 0xffff_ffff), new Uint32Array(), Uint32Array.of(7)],
    nested: { settings: { ratio: 0.1, on: true, none: null }, seed: [3, 4294967295] },
    text: "a\u0000b",
    empty: [],
  }, { slots: Uint32Array.of(9) }];
  const { text, words } = parcel(message);
  assert.deepEqual([...words], [1, 2, 0xffff_ffff, 7, 9]);
  assert.deepEqual(unparcel({ text, words }), message);
});

Deno.test("parcel copies windows onto larger arrays alone", () => {
  const large = Uint32Array.from({ length: 100 }, (_, i) => i);
  assert.deepEqual(unparcel(parcel({ part: large.subarray(10, 12) })), { part: Uint32Array.of(10, 11) });
});
