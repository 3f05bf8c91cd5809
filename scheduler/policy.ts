/**
 * Ways to choose the next step. `dynamic` is the product's. `fcfs` serves one prompt at a time in the order of arrival, as
 * a server does that compresses inline. `static` is batch-synchronous: fixed batch sizes for prefill, compress and
 * decode (the paper's p1c1d8 …), and a decode batch runs to its completion before anything else does.
 */
export type Policy =
  | { readonly kind: "dynamic" }
  | { readonly kind: "fcfs" }
  | { readonly kind: "static"; readonly prefill: number; readonly compress: number; readonly decode: number };

export const DYNAMIC: Policy = { kind: "dynamic" };

/** `dynamic`, `fcfs` or `static:pXcYdZ`; null for anything else. */
export function parsePolicy(text: string): Policy | null {
  if (text === "dynamic" || text === "fcfs") return { kind: text };
  const match = /^static:p(\d+)c(\d+)d(\d+)$/.exec(text);
  if (match === null) return null;
  const [prefill, compress, decode] = match.slice(1).map(Number);
  const sizes = [prefill, compress, decode];
  return sizes.every((size) => size >= 1 && size <= 4096)
    ? { kind: "static", prefill, compress, decode }
    : null;
}

export function policyText(policy: Policy): string {
  return policy.kind === "static"
    ? `static:p${policy.prefill}c${policy.compress}d${policy.decode}`
    : policy.kind;
}
