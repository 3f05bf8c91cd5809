// row_sum: sums over a workgroup in one fixed tree; part of rms_norm and layer_norm.
// Reference: tests/reference/rms_norm.ts

/** WGSL of the shared array that {@link treeSum} uses. `workgroup` is a power of two. */
export function partialArray(workgroup: number): string {
  return `var<workgroup> partial: array<f32, ${workgroup}>;`;
}

/** Statements after which `partial[0]` is the sum of every invocation's `value`; unrolled, as loops cost more here. */
export function treeSum(workgroup: number, value: string): string {
  const lines = [`partial[lane] = ${value};`, "workgroupBarrier();"];
  for (let half = workgroup / 2; half >= 1; half /= 2) {
    lines.push(`if (lane < ${half}u) { partial[lane] += partial[lane + ${half}u]; }`, "workgroupBarrier();");
  }
  return lines.map((line) => `  ${line}`).join("\n");
}
