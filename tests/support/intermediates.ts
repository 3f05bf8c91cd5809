/** The reference's tensors of a fixture's first case, as f32 by name. */
import { openFile } from "../../lib/model/byte_source.ts";
import { Safetensors } from "../../lib/model/safetensors.ts";
import { MATRIX_ELEMENT_BYTES } from "../../lib/ops/tensor.ts";
import { widen } from "../../lib/ops/widen.ts";
import type { Fixture } from "./fixtures.ts";

/** Tensors of floating point only; ids and masks are left out. */
export function readIntermediates(fixture: Fixture): Map<string, Float32Array> {
  const path = `${fixture.dir}/intermediates.safetensors`;
  const bytes = openFile(path);
  if (bytes === null) throw new Error(`${path} is missing`);
  const file = new Safetensors(bytes);
  const integers = new Set(["input_ids", "image_grid_thw", "mm_token_type_ids", "pixel_attention_mask"]);
  const out = new Map<string, Float32Array>();
  for (const name of file.names()) {
    if (integers.has(name)) continue;
    const tensor = file.tensor(name);
    const elements = tensor.shape.reduce((product, size) => product * size, 1);
    out.set(name, widen(tensor.dtype, tensor.read(0, elements * MATRIX_ELEMENT_BYTES[tensor.dtype])));
  }
  return out;
}
