// matmul: out[m, n] = residual[m, n] + activate(sum_k x[m, k] · weight[n, k] + bias[n])
// x: [M, K] f32, K % 4 = 0. weight: one slice of a matrix in matrix_layout. bias: [N] f32. residual, out: [M, N] f32.
// An invocation computes a tile of rows × columns outputs in registers; no workgroup memory. Each output is one chain
// of fma over ascending k from 0, in every tile, so a row's bits depend on neither the tile nor the batch.
// Workgroup: lanesX column tiles × lanesY row tiles. Grid: (row tiles / lanesY, column tiles / lanesX, 1), so that
// workgroups that run one after the other read the same weights.
// Reference: tests/reference/matmul.ts. Tolerance: "reduce".
import type { Activation } from "../lib/ops/backend.ts";
import type { MatrixDtype } from "../lib/ops/tensor.ts";
import { activationFunction } from "./activation.wgsl.ts";
import type { Kernel } from "./kernel.ts";
import { BLOCK_ROWS, CHUNK_AT, chunkType, widenFunction } from "./matrix_layout.wgsl.ts";

/** Outputs of one invocation and how invocations form a workgroup. */
export interface MatmulTile {
  readonly rows: 1 | 2 | 4 | 8;
  /** Divides the rows of a block. */
  readonly columns: 1 | 8;
  readonly lanesX: number;
  readonly lanesY: number;
  /** Chunks of 4 k in the body of the loop. */
  readonly chunks: 1 | 2 | 4;
}

/** What happens to a finished sum. "in place" adds what `out` held before. */
export interface MatmulEpilogue {
  readonly bias: boolean;
  readonly activation: Activation;
  readonly residual: "none" | "other" | "in place";
}

/**
 * Params: M, N (columns of out), K/4, first column of the slice in out, columns of the slice.
 * Bindings: x, weight, bias if any, residual if another buffer, out.
 */
export function matmul(dtype: MatrixDtype, tile: MatmulTile, epilogue: MatmulEpilogue): Kernel {
  const { rows, columns, lanesX, lanesY, chunks } = tile;
  const { bias, activation, residual } = epilogue;
  const inputs = [
    `x: array<vec4<f32>>`,
    `weight: array<${chunkType(dtype)}>`,
    ...(bias ? [`bias: array<f32>`] : []),
    ...(residual === "other" ? [`residual: array<f32>`] : []),
  ];
  const row = range(rows);
  const column = range(columns);
  const sums = row.flatMap((r) => column.map((c) => `s${r}_${c}`));
  return {
    key: `matmul ${dtype} ${rows}x${columns} g${lanesX}x${lanesY} u${chunks}${
      bias ? " bias" : ""
    } ${activation} residual ${residual}`,
    bindings: [...inputs.map(() => "read" as const), "read_write"],
    paramWords: 5,
    code: `
struct Params { rows: u32, columns: u32, chunks: u32, first_column: u32, slice_columns: u32 }
${inputs.map((input, i) => `@group(0) @binding(${i}) var<storage, read> ${input};`).join("\n")}
@group(0) @binding(${inputs.length}) var<storage, read_write> out: array<f32>;
@group(0) @binding(${inputs.length + 1}) var<uniform> params: Params;

${widenFunction(dtype)}
${CHUNK_AT}
${activationFunction(activation)}

fn store(row: u32, column: u32, sum: f32) {
  if (row >= params.rows || column >= params.slice_columns) { return; }
  let n = params.first_column + column;
  let at = row * params.columns + n;
  ${bias ? "let y = activate(sum + bias[n]);" : "let y = activate(sum);"}
  out[at] = ${residual === "none" ? "y" : residual === "other" ? "residual[at] + y" : "out[at] + y"};
}

@compute @workgroup_size(${lanesX}, ${lanesY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
  let first_row = (group.x * ${lanesY}u + lane.y) * ${rows}u;
  let first = (group.y * ${lanesX}u + lane.x) * ${columns}u;
  if (first_row >= params.rows || first >= params.slice_columns) { return; }
  // Rows past the end repeat the last one and are not stored.
${row.map((r) => `  var x${r} = min(first_row + ${r}u, params.rows - 1u) * params.chunks;`).join("\n")}
  var w = chunk_at(first, 0u, params.chunks);
${sums.map((sum) => `  var ${sum} = 0.0;`).join("\n")}
${chunks > 1 ? loop(rows, columns, chunks, `params.chunks / ${chunks}u`) : ""}
${loop(rows, columns, 1, chunks > 1 ? `params.chunks % ${chunks}u` : "params.chunks")}
  // Loops, so that the epilogue is compiled once and not for every output: that is most of a variant's compile time.
  for (var r = 0u; r < ${rows}u; r += 1u) {
${column.map((c) => `    let s_${c} = ${pick("r", row.map((r) => `s${r}_${c}`))};`).join("\n")}
    for (var c = 0u; c < ${columns}u; c += 1u) {
      store(first_row + r, first + c, ${pick("c", column.map((c) => `s_${c}`))});
    }
  }
}
`,
  };
}

/** `times` passes over `chunks` chunks each: all loads of a pass come first, to be in flight together. */
function loop(rows: number, columns: number, chunks: number, times: string): string {
  const body: string[] = [];
  for (let u = 0; u < chunks; u++) {
    for (let r = 0; r < rows; r++) body.push(`let a${u}_${r} = x[x${r} + ${u}u];`);
    for (let c = 0; c < columns; c++) {
      body.push(`let b${u}_${c} = widen(weight[w + ${u * BLOCK_ROWS + c}u]);`);
    }
  }
  for (let u = 0; u < chunks; u++) {
    for (const k of "xyzw") {
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          body.push(`s${r}_${c} = fma(a${u}_${r}.${k}, b${u}_${c}.${k}, s${r}_${c});`);
        }
      }
    }
  }
  for (let r = 0; r < rows; r++) body.push(`x${r} += ${chunks}u;`);
  body.push(`w += ${chunks * BLOCK_ROWS}u;`);
  return `  for (var i = ${times}; i > 0u; i -= 1u) {
${body.map((line) => `    ${line}`).join("\n")}
  }`;
}

/** The value of number `index`. Selects, because arrays indexed by a variable leave the registers. */
function pick(index: string, values: readonly string[]): string {
  return values.slice(1).reduce(
    (rest, value, i) => `select(${rest}, ${value}, ${index} == ${i + 1}u)`,
    values[0],
  );
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
