/** The isolate of one look for an adapter; see `probeAdapter`. */
/// <reference lib="deno.worker" />
import { type AdapterFacts, findAdapter } from "../gpu/device.ts";

/** What was found, or why nothing was. */
export type AdapterAnswer =
  | { readonly facts: AdapterFacts; readonly reason: null }
  | { readonly facts: null; readonly reason: string };

const { facts, reason } = await findAdapter();
self.postMessage(facts === null ? { facts, reason } : { facts, reason: null });
