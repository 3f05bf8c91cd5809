/** Records the operations that bring pictures into the tower. */
import patchifyCode from "../../shaders/patchify.wgsl" with { type: "text" };
import visionEmbedCode from "../../shaders/vision_embed.wgsl" with { type: "text" };
import type { Kernel } from "../../shaders/kernel.ts";
import { assert } from "../core/assert.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuTensor, Recorder } from "./recorder.ts";

/** `@workgroup_size` of both kernels. */
const WORKGROUP = 64;

const patchify: Kernel = {
  key: "patchify",
  code: patchifyCode,
  bindings: ["read", "read_write"],
  paramWords: 4,
};
const visionEmbed: Kernel = {
  key: "vision_embed",
  code: visionEmbedCode,
  bindings: ["read", "read", "read", "read_write"],
  paramWords: 4,
};

export function recordPatchify(
  recorder: Recorder,
  o: { pixels: GpuTensor; height: number; width: number; patch: number; out: GpuTensor },
): void {
  const patches = Math.floor(o.height / o.patch) * Math.floor(o.width / o.patch);
  assert(o.pixels.cols === 3 * o.height * o.width, "a row of pixels is one picture");
  assert(o.out.rows === o.pixels.rows * patches && o.out.cols === 3 * o.patch ** 2, "a row a patch");
  const elements = o.out.rows * o.out.cols;
  recorder.dispatch(
    patchify,
    [o.pixels.buffer, o.out.buffer],
    [elements, o.height, o.width, o.patch],
    foldedGrid(Math.ceil(elements / WORKGROUP)),
  );
}

export function recordVisionEmbed(
  recorder: Recorder,
  o: {
    patches: GpuTensor;
    classToken: GpuTensor | null;
    positions: GpuTensor;
    images: number;
    out: GpuTensor;
  },
): void {
  const { rows, cols: dim } = o.positions;
  const classRows = o.classToken === null ? 0 : 1;
  assert(o.patches.rows === o.images * (rows - classRows) && o.patches.cols === dim, "patches fit positions");
  assert(o.out.rows === o.images * rows && o.out.cols === dim, "every picture has a row a position");
  const elements = o.out.rows * dim;
  recorder.dispatch(
    visionEmbed,
    // Without a class token its binding is never read; positions stand in.
    [o.patches.buffer, (o.classToken ?? o.positions).buffer, o.positions.buffer, o.out.buffer],
    [elements, dim, rows, classRows],
    foldedGrid(Math.ceil(elements / WORKGROUP)),
  );
}
