/** Compressions as the scheduler is asked for them, for tests that are about something else. */
import type { MethodName } from "../../lib/engine/compress/method.ts";
import { usualCompression } from "../../lib/engine/compress/mod.ts";
import type { Compression } from "../../scheduler/messages.ts";

/** A method with its usual settings. */
export function compressionBy(
  method: MethodName,
  ratio: number,
  when: Partial<Pick<Compression, "underPressure" | "adaptive" | "minTokens" | "quantise">> = {},
): Compression {
  const always = { underPressure: false, adaptive: false, minTokens: 0, protect: [] };
  return { ...usualCompression(method, ratio), ...always, ...when };
}
