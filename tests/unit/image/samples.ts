import { createHash } from "node:crypto";
import type { ResampleFilter } from "../../../lib/image/filter.ts";
import index from "./samples/index.json" with { type: "json" };
import resampled from "./samples/resampled.json" with { type: "json" };

/** What Pillow says about a sample picture. */
export interface Sample {
  readonly format: string;
  readonly width: number;
  readonly height: number;
  readonly sha256: string;
}

export const SAMPLES = Object.entries(index as Record<string, Sample>);
export const RESAMPLED =
  resampled as readonly (Omit<Sample, "format"> & { file: string; filter: ResampleFilter })[];

export function readSample(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`./samples/${name}`, import.meta.url));
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The start of a PNG that claims a size; nothing behind the header is there. */
export function pngClaiming(width: number, height: number): Uint8Array<ArrayBuffer> {
  const bytes = readSample("rgb8.png").slice(0, 33);
  const view = new DataView(bytes.buffer);
  view.setUint32(16, width);
  view.setUint32(20, height);
  return bytes;
}
