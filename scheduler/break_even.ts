/** Whether compression gains more than it costs: its own time against what each later decode step saves. */

/** Predicted speed-up of what is left of a request, below which the prediction's error decides. */
const SPEED_UP_MIN = 1.05;
/** Shorter completions leave nothing to gain. */
const TOKENS_MIN = 10;

export interface BreakEvenCase {
  /** Of the compression step. */
  readonly compressMs: number;
  /** Of a decode step as things are. */
  readonly decodeMs: number;
  /** What a stored slot adds to it; 0 while unknown. */
  readonly msPerSlot: number;
  /** Slots fewer in a layer, averaged over layers. */
  readonly slotsSaved: number;
  /** Tokens that the completion is expected to have yet. */
  readonly tokens: number;
}

/** Tokens after which compression has gained what it cost; Infinity where it saves nothing. */
export function breakEvenTokens({ compressMs, decodeMs, msPerSlot, slotsSaved }: BreakEvenCase): number {
  const savedMs = Math.min(decodeMs, msPerSlot * slotsSaved);
  return savedMs > 0 ? compressMs / savedMs : Infinity;
}

export function paysOff(o: BreakEvenCase): boolean {
  if (o.tokens < TOKENS_MIN || o.tokens <= breakEvenTokens(o)) return false;
  const savedMs = Math.min(o.decodeMs, o.msPerSlot * o.slotsSaved);
  return o.tokens * o.decodeMs >= SPEED_UP_MIN * (o.compressMs + o.tokens * (o.decodeMs - savedMs));
}
