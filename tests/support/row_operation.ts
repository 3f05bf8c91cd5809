/** Checks that hold for any operation that treats the rows of x apart. */
import assert from "node:assert/strict";
import type { Step } from "../../lib/ops/backend.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import { testEach } from "./backends.ts";
import { Draw } from "./cases.ts";
import { assertSameBits, row } from "./compare.ts";
import type { Scope } from "./scope.ts";

/** x [rows, inCols] → out [rows, outCols]; `prepare` makes what the operation needs beside x. */
export interface RowOperation {
  readonly name: string;
  readonly inCols: number;
  readonly outCols: number;
  prepare(scope: Scope): (step: Step, x: Tensor, out: Tensor) => void;
}

const BATCH = 17;

/** Registers: a row's bits do not depend on the rows beside it, and a row of NaN stays alone. */
export function testRowOperation(operation: RowOperation): void {
  const { name, inCols, outCols } = operation;

  testEach(`${name} gives a row the same bits alone and in every batch of up to ${BATCH}`, async (scope) => {
    const run = runner(scope, operation);
    const x = new Draw(inCols).normal(BATCH * inCols);
    const alone: Float32Array[] = [];
    for (let i = 0; i < BATCH; i++) alone.push(await run(row(x, inCols, i)));
    for (let count = 2; count <= BATCH; count++) {
      const together = await run(x.subarray(0, count * inCols));
      for (let i = 0; i < count; i++) {
        assertSameBits(row(together, outCols, i), alone[i], `row ${i} of ${count}`);
      }
    }
  });

  testEach(`${name} keeps a row of NaN to itself`, async (scope) => {
    const run = runner(scope, operation);
    const x = new Draw(inCols + 1).normal(5 * inCols);
    const clean = await run(x);
    const dirty = await run(x.map((value, i) => Math.floor(i / inCols) === 2 ? NaN : value));
    assert.ok(row(dirty, outCols, 2).every(Number.isNaN), "a row of NaN yields NaN");
    for (const i of [0, 1, 3, 4]) {
      assertSameBits(row(dirty, outCols, i), row(clean, outCols, i), `row ${i}`);
    }
  });
}

function runner(scope: Scope, { inCols, outCols, prepare }: RowOperation) {
  const record = prepare(scope);
  return async (x: Float32Array): Promise<Float32Array> => {
    const rows = x.length / inCols;
    const [out] = await scope.step((step) => {
      const out = step.tensor(rows, outCols);
      record(step, step.upload(rows, inCols, x), out);
      return [out];
    });
    assert.ok(out instanceof Float32Array);
    return out;
  };
}
