import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import type { Backend, Step } from "../../../lib/ops/backend.ts";
import {
  EVERY_KERNEL,
  type KernelUse,
  probeFused,
  requirePassed,
  runSelfTest,
} from "../../../lib/wasm/self_test.ts";
import { NO_KERNELS, withWasm } from "../../support/wasm.ts";

for (const threads of [1, 3]) {
  Deno.test(`the self-test passes for every kernel on ${threads} threads and leaves nothing behind`, async () => {
    await withWasm({ threads, examine: EVERY_KERNEL }, (backend) => {
      assert.deepEqual(backend.selfTest.filter((row) => !row.passed), []);
      const names = backend.selfTest.map((row) => row.name);
      // 3 stored formats, 2 quantised in 2 families, 6 activations in 2 kernels, 2 norms, 2 caches in 4 checks, 1 segment.
      assert.equal(names.length, 30);
      assert.equal(new Set(names).size, names.length);
      assert.equal(backend.liveBytes(), 0);
      assert.equal(backend.dot, false);
      return Promise.resolve();
    });
  });
}

Deno.test("the self-test leaves a backend with the storage and family that it was asked for", async () => {
  const examine: KernelUse = { ...NO_KERNELS, formats: ["int4", "int8"], families: ["dot", "exact"] };
  await withWasm({ quantise: "int4", family: "dot", examine }, (backend) => {
    assert.equal(backend.dot, true);
    assert.equal(backend.createMatrix(8, 32, "f16", true).format, "int4");
    return Promise.resolve();
  });
});

/** The backend with one operation of its steps replaced. */
function sabotaged(backend: Backend, replace: (step: Step) => Partial<Step>): Backend {
  const behind = <Target extends object>(target: Target, own: Partial<Target>): Target =>
    new Proxy(target, {
      get(_, name) {
        const value = Reflect.get(name in own ? own : target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  return behind(backend, {
    begin: () => {
      const step = backend.begin();
      return behind(step, replace(step));
    },
  });
}

/** Each: an error small enough to live unnoticed in an answer, and the check that must name it. */
const SABOTAGES:
  readonly (readonly [name: string, use: Partial<KernelUse>, replace: (step: Step) => Partial<Step>])[] = [
    ["rms_norm", {}, (step) => ({ rmsNorm: (o) => step.rmsNorm({ ...o, eps: o.eps + 1e-3 }) })],
    ["layer_norm", {}, (step) => ({ layerNorm: (o) => step.layerNorm({ ...o, bias: o.weight }) })],
    [
      "matmul f16",
      { formats: ["f16"] },
      (step) => ({ matmul: (o) => step.matmul({ ...o, activation: "relu" }) }),
    ],
    ["bias, gelu, residual", { activations: ["gelu"] }, (step) => ({
      matmul: (o) => step.matmul({ ...o, activation: "gelu_tanh" }),
    })],
    ["gated gelu", { activations: ["gelu"] }, (step) => ({
      gated: (o) => step.gated({ ...o, activation: "gelu_tanh" }),
    })],
    ["rope and attention f32", { caches: [{ dtype: "f32", headDim: 16 }] }, (step) => ({
      // The check of compression attends to single tokens.
      pagedAttention: (o) => step.pagedAttention({ ...o, scale: o.scale * (o.qkv.rows > 1 ? 1.001 : 1) }),
    })],
    ["compression f32", { caches: [{ dtype: "f32", headDim: 16 }] }, (step) => ({
      kvUnpack: (o) => step.kvUnpack({ ...o, bits: o.bits === 8 ? 4 : 8 }),
    })],
    ["scores f16", { caches: [{ dtype: "f16", headDim: 16 }] }, (step) => ({
      kvExpected: (o) => step.kvExpected({ ...o, covariance: false }),
    })],
    ["scores f32", { caches: [{ dtype: "f32", headDim: 20 }] }, (step) => ({
      kvWindow: (o) => step.kvWindow({ ...o, scale: o.scale * 1.001 }),
    })],
    ["scores f32", { caches: [{ dtype: "f32", headDim: 12 }] }, (step) => ({
      kvLag: (o) => step.kvLag({ ...o, lag: o.lag - 1 }),
    })],
    ["compression f32", { caches: [{ dtype: "f32", headDim: 8 }] }, (step) => ({
      keepColumns: (o) => step.keepColumns({ ...o, scale: o.scale * 1.001 }),
    })],
    ["fold f32", { caches: [{ dtype: "f32", headDim: 16 }], folds: true }, (step) => ({
      kvFold: (o) =>
        step.kvFold({
          ...o,
          layers: o.layers.map(({ layer, networks }) => ({
            layer,
            networks: networks.map(({ keys, values: [first, second] }) => (
              { keys, values: [first, second, { ...keys[2], bias: keys[2].bias }] }
            )),
          })),
        }),
    })],
    ["segment attention of 8", { segments: [8] }, (step) => ({
      segmentAttention: (o) => step.segmentAttention({ ...o, scale: o.scale * 1.001 }),
    })],
  ];

Deno.test("the self-test names each kernel that calculates a little wrong, and starting fails with that name", async () => {
  await withWasm({}, async (backend) => {
    for (const [name, use, replace] of SABOTAGES) {
      const examinee = { backend: sabotaged(backend, replace), threads: 1, store: () => {} };
      const rows = await runSelfTest(examinee, { ...NO_KERNELS, ...use });
      assert.deepEqual(rows.filter((row) => !row.passed).map((row) => row.name), [name]);
      assert.throws(
        () => requirePassed(rows),
        (error) => error instanceof StartError && error.message.includes(`: ${name}: largest error`),
      );
    }
  });
});

Deno.test("probeFused tells a product that was rounded before the sum", async () => {
  await withWasm({}, async (backend) => {
    assert.equal(await probeFused(backend), backend.fused);
    // The sum of two rounded products, as a machine without the instruction computes it.
    const rounding = sabotaged(backend, (step) => ({
      finish: async (reads) => {
        await step.finish(reads);
        const factor = 1 + 2 ** -12;
        return [Float32Array.of(Math.fround(factor * factor) - 1).buffer];
      },
    }));
    assert.equal(await probeFused(rounding), false);
  });
});

Deno.test("the self-test of compression passes for every size of head that models have", async () => {
  await withWasm({}, async (backend) => {
    const caches = [8, 12, 16, 24, 40, 64, 80, 96, 112, 128, 256].flatMap((headDim) =>
      (["f32", "f16"] as const).map((dtype) => ({ dtype, headDim }))
    );
    for (const cache of caches) {
      const rows = await runSelfTest({ backend, threads: 1, store: () => {} }, {
        ...NO_KERNELS,
        caches: [cache],
      });
      assert.deepEqual(rows.filter(({ passed }) => !passed), [], `${cache.dtype} ${cache.headDim}`);
    }
  });
});
