import assert from "node:assert/strict";
import { AUTO_COMPRESSION, keptOf } from "../../../scheduler/compression.ts";

Deno.test("keptOf keeps the same number of slots in every layer", () => {
  assert.deepEqual(keptOf({ method: "knorm", ratio: 0.5 }, 100, 3), Uint32Array.of(50, 50, 50));
});

Deno.test("keptOf is null where compression would save nothing", () => {
  assert.equal(keptOf({ method: "knorm", ratio: 0.5 }, 1, 3), null);
  assert.equal(keptOf({ method: "streaming", ratio: 0.25 }, 2, 3)?.[0], 1, "half a slot counts as removed");
});

Deno.test("AUTO_COMPRESSION waits until memory is short and halves what is stored", () => {
  assert.equal(AUTO_COMPRESSION.underPressure, true);
  assert.deepEqual(keptOf(AUTO_COMPRESSION, 1000, 1), Uint32Array.of(500));
});
