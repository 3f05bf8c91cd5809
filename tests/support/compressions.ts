/** Compressions as the scheduler is asked for them, for tests that are about something else. */
import type { MethodName } from "../../lib/engine/compress/method.ts";
import { usualCompression } from "../../lib/engine/compress/mod.ts";
import type { Compression } from "../../scheduler/messages.ts";

/** A method with its usual settings. */
export function compressionBy(
  method: MethodName,
  ratio: number,
  when: Partial<Pick<Compression, "underPressure" | "minTokens" | "quantise">> = {},
): Compression {
  return { ...usualCompression(method, ratio), underPressure: false, minTokens: 0, protect: [], ...when };
}
