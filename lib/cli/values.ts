/** Readers of flag values: text in, value out. Each throws UsageError with what was expected. */
import { UsageError } from "../core/errors.ts";
import type { WeightStorage } from "../engine/device.ts";
import type { Compression } from "../../scheduler/messages.ts";
import { parseCompression } from "../../scheduler/compression.ts";
import { compressionFields } from "../../scheduler/compression_text.ts";
import { parsePolicy, type Policy } from "../../scheduler/policy.ts";
import type { WindowLimits } from "../../scheduler/window.ts";

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  "b": 1,
  "kib": 1024,
  "mib": 1024 ** 2,
  "gib": 1024 ** 3,
};

export function readText(text: string): string {
  if (text.trim() === "") throw new UsageError("must not be empty");
  return text;
}

/** A whole number in [least, most]. */
export function readWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) {
      throw new UsageError(`expected a whole number from ${least} to ${most}, got "${text}"`);
    }
    return value;
  };
}

/** Seconds, fractions allowed, as milliseconds. */
export function readSeconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value <= 86_400)) throw new UsageError(`expected seconds from 0 to 86400, got "${text}"`);
  return value * 1000;
}

/** A number from 0 to 1. */
export function readShare(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
  if (!(value <= 1)) throw new UsageError(`expected a number from 0 to 1, got "${text}"`);
  return value;
}

/** `1073741824`, `512MiB`, `1.5 GiB` as bytes. */
export function readBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
  const unit = match === null ? undefined : SIZE_UNITS[match[2].toLowerCase()];
  const bytes = unit === undefined ? NaN : Math.floor(Number(match![1]) * unit);
  if (!(bytes > 0 && Number.isSafeInteger(bytes))) {
    const unitMeant = /^\d+(?:\.\d+)?\s*([kmg])b?$/i.exec(text)?.[1].toUpperCase();
    const hint = unitMeant === undefined ? "" : `: write ${parseFloat(text)}${unitMeant}iB`;
    throw new UsageError(`expected bytes, or a number with KiB, MiB or GiB, got "${text}"${hint}`);
  }
  return bytes;
}

export function readChoice<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new UsageError(`expected ${choices.join(" or ")}, got "${text}"`);
    return found;
  };
}

/** on or off. */
export function readSwitch(text: string): boolean {
  return readChoice(["on", "off"])(text) === "on";
}

export function readPolicy(text: string): Policy {
  const policy = parsePolicy(text);
  if (policy === null) {
    throw new UsageError(
      `expected dynamic, fcfs or static:pXcYdZ (batch sizes, as static:p2c2d8), got "${text}"`,
    );
  }
  return policy;
}

/** auto, or FORMAT with an optional family: int8, int8-exact, int4-dot … */
export function readDtype(text: string): WeightStorage {
  if (text === "auto") return "stored";
  const match = /^(int8|int4)(?:-(exact|dot))?$/.exec(text);
  if (match === null) {
    throw new UsageError(`expected auto, int8, int4, or one of these with -exact or -dot, got "${text}"`);
  }
  return { format: match[1] === "int8" ? "int8" : "int4", family: match[2] === "exact" ? "exact" : "dot" };
}

/** ITEMS:TOKENS:WAIT_MS. */
export function readWindow(text: string): WindowLimits {
  const match = /^(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  const [items, tokens, waitMs] = match === null ? [0, 0, 0] : match.slice(1).map(Number);
  if (match === null || items < 1 || tokens < 1 || items > 1e6 || tokens > 1e9 || waitMs > 60_000) {
    throw new UsageError(
      `expected ITEMS:TOKENS:WAIT_MS with at least 1 item, 1 token and at most 60000 ms (8:2048:5), got "${text}"`,
    );
  }
  return { items, tokens, waitMs };
}

/** METHOD[:RATIO][:int8|int4]; `none` is null, `auto` compresses when it pays or memory is short. */
export function readCompression(text: string): Compression | null {
  const { method, ratio, quantize } = compressionFields(text);
  if (Number.isNaN(ratio)) {
    throw new UsageError(`expected METHOD:RATIO with a ratio above 0 and below 1, got "${text}"`);
  }
  const whole = method === "none" || method === undefined;
  if (whole && ratio !== undefined) throw new UsageError(`none has no ratio, got "${text}"`);
  const parsed = parseCompression({ method, ratio, quantize });
  if (!parsed.ok) throw new UsageError(parsed.problem.message);
  return parsed.compression;
}

/** A host name or an address, without scheme, port or path; IPv6 with or without brackets. */
export function readHost(text: string): string {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  const name = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$/;
  if (!name.test(bare) && !(bare.includes(":") && URL.canParse(`http://[${bare}]`))) {
    throw new UsageError(`expected a host name or an address, got "${text}"`);
  }
  return bare;
}

/** `*` or an origin: scheme, host, optional port. */
export function readOrigin(text: string): string {
  if (text === "*") return text;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.origin === "null" || (text !== url.origin && text !== `${url.origin}/`)) {
    throw new UsageError(`expected * or an origin such as https://example.org, got "${text}"`);
  }
  return url.origin;
}

export function readUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`expected an http:// or https:// address, got "${text}"`);
  }
  return text.replace(/\/+$/, "");
}
