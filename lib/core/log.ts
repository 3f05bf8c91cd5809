import { timestamp } from "./clock.ts";

/** One line per event, `time level event key=value …`, on standard error (standard output carries the start lines). */
export type Fields = Record<string, string | number | boolean | null | undefined>;

function text(value: string | number | boolean | null | undefined): string {
  const plain = String(value);
  return /^[\w.:/+@%-]*$/.test(plain) && plain !== "" ? plain : JSON.stringify(plain);
}

function write(level: string, event: string, fields: Fields): void {
  const pairs = Object.entries(fields).filter(([, v]) => v !== undefined).map(([k, v]) => ` ${k}=${text(v)}`);
  console.error(`${timestamp()} ${level} ${event}${pairs.join("")}`);
}

export const log = {
  note: (event: string, fields: Fields = {}) => write("note", event, fields),
  warn: (event: string, fields: Fields = {}) => write("warn", event, fields),
  error: (event: string, fields: Fields = {}) => write("error", event, fields),
};
