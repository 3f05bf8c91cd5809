/** Small calculations that every device must get right before it is trusted with a model. */
import { f16Words } from "../../shaders/f16_words.wgsl.ts";
import { compareSelfTest, type SelfTestRow, selfTestRow, wave } from "../ops/self_test.ts";
import type { Buffers } from "./buffers.ts";
import { recordMatmul } from "./dense.ts";
import { recordRmsNorm } from "./norms.ts";
import { Matrices } from "./matrices.ts";
import type { GpuTensor } from "./recorder.ts";
import { Recording, type StepParts } from "./recording.ts";

export const PACKED_F16 = "packed-f16";

/** Runs every check; a check that throws has failed. */
export async function runSelfTest(buffers: Buffers, parts: StepParts): Promise<readonly SelfTestRow[]> {
  return [
    await selfTestRow("matmul", true, () => checkMatmul(buffers, parts)),
    await selfTestRow("workgroup-sum", true, () => checkWorkgroupSum(parts)),
    await selfTestRow(PACKED_F16, false, () => checkPackedF16(parts)),
  ];
}

/** x · weightᵀ for [5, 24] · [11, 24]: whole tiles and their tails, and the packing of the weight. */
async function checkMatmul(buffers: Buffers, parts: StepParts): Promise<string> {
  const [m, n, k] = [5, 11, 24];
  const x = wave(m * k, 1);
  const weight = wave(n * k, 2);
  const expected = Array.from({ length: m * n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < k; j++) sum += x[Math.floor(i / n) * k + j] * weight[(i % n) * k + j];
    return sum;
  });
  const matrices = new Matrices(buffers, parts, n * k * 8, true);
  const matrix = matrices.create(n, k, "f32");
  try {
    matrices.write(matrix, 0, new Uint8Array(weight.buffer));
    return compareSelfTest(
      expected,
      await run(parts, (recording) => {
        const out = recording.scratch(m, n, "f32");
        recordMatmul(recording, { x: upload(recording, m, k, x), weight: matrix, out });
        return out;
      }),
    );
  } finally {
    matrices.destroy(matrix);
  }
}

/** A row longer than a workgroup, so that strides and the tree are both used. */
async function checkWorkgroupSum(parts: StepParts): Promise<string> {
  const dim = 3 * parts.tuning.workgroup + 5;
  const x = wave(2 * dim, 3);
  const ones = new Float32Array(dim).fill(1);
  const expected = Array.from({ length: 2 * dim }, (_, i) => {
    const line = x.subarray(Math.floor(i / dim) * dim, (Math.floor(i / dim) + 1) * dim);
    return x[i] / Math.sqrt(line.reduce((sum, v) => sum + v * v, 0) / dim);
  });
  return compareSelfTest(
    expected,
    await run(parts, (recording) => {
      const out = recording.scratch(2, dim, "f32");
      const weight = upload(recording, 1, dim, ones);
      recordRmsNorm(recording, { x: upload(recording, 2, dim, x), weight, eps: 0, out });
      return out;
    }),
  );
}

/** Every finite normal half through a load and a store, bit by bit. Smaller ones may be flushed to zero. */
async function checkPackedF16(parts: StepParts): Promise<string> {
  const halves: number[] = [0];
  for (let bits = 0x0400; bits < 0x7c00; bits++) halves.push(bits, bits | 0x8000);
  halves.push(0x8000);
  const words = new Uint32Array(new Uint16Array(halves).buffer);
  const bytes = await run(parts, (recording) => {
    const { workgroup } = recording.tuning;
    const out = recording.scratch(1, words.length, "u32");
    const grid = [Math.ceil(words.length / workgroup), 1, 1] as const;
    recording.dispatch(
      f16Words(workgroup),
      [recording.upload(words).buffer, out.buffer],
      [words.length],
      grid,
    );
    return out;
  });
  const found = new Uint16Array(bytes);
  const wrong = halves.findIndex((half, i) => found[i] !== half);
  if (wrong >= 0) {
    throw new Error(`half 0x${halves[wrong].toString(16)} came back as 0x${found[wrong].toString(16)}`);
  }
  return `${halves.length} halves exact`;
}

async function run(parts: StepParts, record: (recording: Recording) => GpuTensor): Promise<ArrayBuffer> {
  const recording = new Recording(parts);
  try {
    return (await recording.finish([record(recording)]))[0];
  } finally {
    recording.close();
  }
}

function upload(recording: Recording, rows: number, cols: number, values: Float32Array): GpuTensor {
  return { rows, cols, dtype: "f32", buffer: recording.uploadBytes(values) };
}
