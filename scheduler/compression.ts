/** What the scheduler knows of compression: how many slots remain, and what prefill must keep for it. */
import { keptByLayer, METHODS, needOf } from "../lib/engine/compress/mod.ts";
import { computedFrom, needBytes } from "../lib/engine/compress/need.ts";
import type { ImageSpan, MethodName, SlotSpan } from "../lib/engine/compress/method.ts";
import { parseCompression as parseMethod, type SettingsProblem } from "../lib/engine/compress/settings.ts";
import type { EngineFacts } from "../lib/engine/engine.ts";
import { PACK_SLOTS } from "../lib/ops/kv.ts";
import type { Compression, Protected } from "./messages.ts";

/**
 * What `auto` does: it needs nothing but the cache, keeps the same whatever is asked next, and of the methods that do it
 * lost least on the default model (0.7 points at half of the slots; streaming some 20: bench/LOG.md).
 */
const AUTO_METHOD: MethodName = "keydiff";
/** Caches that `auto` leaves as they are. */
const AUTO_MIN_TOKENS = 256;

export type ParsedCompression =
  /** null is `none`. */
  | { readonly ok: true; readonly compression: Compression | null }
  | { readonly ok: false; readonly problem: SettingsProblem };

/** Fields beside those of the method. */
const POLICY_FIELDS = ["min_tokens", "protect"];

/** The wish of a request or of the command line: the method with its settings, and `min_tokens`. Absent and null are one. */
export function parseCompression(asked: Readonly<Record<string, unknown>>): ParsedCompression {
  const record = Object.fromEntries(
    Object.entries(asked).filter(([, value]) => value !== null && value !== undefined),
  );
  const { min_tokens: least, protect: messages, ...rest } = record;
  // Who asks for quantisation alone keeps all slots.
  const method = rest.method ?? (rest.quantize === undefined ? undefined : "none");
  const underPressure = method === "auto";
  const minTokens = least ?? (underPressure ? AUTO_MIN_TOKENS : 0);
  if (!(typeof minTokens === "number" && Number.isInteger(minTokens) && minTokens >= 0)) {
    const kind = typeof minTokens === "number" ? "value" : "type";
    return {
      ok: false,
      problem: { field: "min_tokens", kind, message: "min_tokens must be a whole number" },
    };
  }
  const parsed = parseMethod({ ...rest, method: underPressure ? AUTO_METHOD : method }, POLICY_FIELDS);
  if (!parsed.ok) return withAuto(parsed.problem);
  const protect = protectOf(messages ?? [], parsed.compression.method);
  if ("ok" in protect) return protect;
  const { compression } = parsed;
  if (compression.method === "none" && compression.quantise === null) return { ok: true, compression: null };
  const adaptive = underPressure && Object.keys(record).length === 1;
  return { ok: true, compression: { ...compression, underPressure, adaptive, minTokens, protect } };
}

const PROTECTED: readonly Protected[] = ["system", "last_user"];

function protectOf(
  asked: unknown,
  method: MethodName,
): readonly Protected[] | (ParsedCompression & { ok: false }) {
  const wrong = (kind: SettingsProblem["kind"], message: string) => (
    { ok: false, problem: { field: "protect", kind, message } } as const
  );
  if (!Array.isArray(asked)) return wrong("type", `protect must be a list of ${PROTECTED.join(", ")}`);
  const unknown = asked.find((name) => !PROTECTED.includes(name));
  if (unknown !== undefined) {
    return wrong("value", `protect takes ${PROTECTED.join(", ")}, got ${JSON.stringify(unknown)}`);
  }
  if (asked.length > 0 && !METHODS[method].protects) {
    return wrong("value", `${method} does not choose slots one by one, so that none can be protected`);
  }
  return PROTECTED.filter((name) => asked.includes(name));
}

/** A problem with the method's name ends in the names there are; `auto` is one that the engine does not know. */
function withAuto(problem: SettingsProblem): ParsedCompression {
  const message = problem.field === "method" ? `${problem.message}, and auto` : problem.message;
  return { ok: false, problem: { ...problem, message } };
}

/** Slots that remain in each layer of `slots` stored ones, or null when nothing would be saved. */
export function keptOf(
  compression: Compression,
  slots: number,
  layers: number,
  images: readonly ImageSpan[],
  protect: readonly SlotSpan[] = [],
): Uint32Array | null {
  if (slots < compression.minTokens) return null;
  const kept = keptByLayer(compression, { slots: new Uint32Array(layers).fill(slots), images, protect });
  const packs = compression.quantise !== null;
  return kept.some((count) => count < slots || (packs && count >= PACK_SLOTS)) ? kept : null;
}

/** Pages in which prefill keeps what the method needs of a prompt. */
export function keepPages(
  compression: Compression,
  promptTokens: number,
  { shape, layers, pageBytes }: Pick<EngineFacts, "shape" | "layers" | "pageBytes">,
): number {
  const need = needOf(compression);
  return need === null ? 0 : Math.ceil(needBytes(need, shape, layers, promptTokens) / pageBytes);
}

/** Leading prompt tokens that need not be computed for it, as far as a prefix cache has them. */
export function sharableTokens(compression: Compression | null, promptTokens: number): number {
  return computedFrom(compression === null ? null : needOf(compression), promptTokens);
}
