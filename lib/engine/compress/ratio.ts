/** kvpress' rule: int(slots · (1 − ratio)) remain; never fewer than one, so that attention has something to read. */
export function keptByRatio(ratio: number, slots: number): number {
  return Math.max(1, Math.trunc(slots * (1 - ratio)));
}
