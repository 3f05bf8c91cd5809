/** The loop of kv_gather, over one KV head's pages. */
import {
  type Code,
  doWhile,
  f32,
  type FunctionBuilder,
  get,
  I32,
  i32,
  i8x16,
  type Local,
  type ModuleBuilder,
  range,
  sequence,
  set,
  v128,
  when,
  whileLoop,
} from "./emit.ts";
import { assert } from "../core/assert.ts";
import { KV_ELEMENT_BYTES, type KvDtype } from "../ops/kv.ts";
import { halfBytes, type PageShape } from "./page.ts";

/** The bytes of lane l in a vector of elements, as a number of as many bytes: l times the first plus the second. */
const LANE_BYTES: Record<KvDtype, readonly [number, number]> = {
  f16: [0x0202, 0x0100],
  f32: [0x0404_0404, 0x0302_0100],
};

/** A vector, and behind it, per channel, a page's slots and a vector's. */
export function gatherStageBytes({ headDim, slots, dtype }: PageShape): number {
  return 16 + headDim * (slots * KV_ELEMENT_BYTES[dtype] + 16);
}

/**
 * gather(kept, count, source, target, head, pageBytes, stage): target slot i = source slot kept[i], bit by bit. `stage` is room for
 * gatherStageBytes. Target slots behind the last, up to the end of its page, get anything.
 */
export function addGather(module: ModuleBuilder, page: PageShape): void {
  assert(page.slots * KV_ELEMENT_BYTES[page.dtype] % 16 === 0, "a page's slots fill vectors");
  module.add("gather", range(7).map(() => I32), (f, kept, count, source, target, head, pageBytes, stage) => {
    const at = f.i32(), end = f.i32(), table = f.i32();
    const pageOf = (tables: Local): Code =>
      i32.add(get(head), i32.mul(i32.load(get(tables)), get(pageBytes)));
    const begin = sequence(
      set(at, get(kept)),
      set(end, i32.add(get(kept), i32.shl(get(count), i32.const(2)))),
      set(table, get(target)),
    );
    const sourcePage = (slot: Local): Code =>
      i32.add(
        get(head),
        i32.mul(
          i32.load(i32.add(get(source), i32.shl(i32.divU(get(slot), i32.const(page.slots)), i32.const(2)))),
          get(pageBytes),
        ),
      );
    return sequence(
      begin,
      keys(f, page, at, end, stage, sourcePage, pageOf(table), table),
      begin,
      values(f, page, at, end, sourcePage, pageOf(table), table),
    );
  });
}

/**
 * Vector of slots after vector of slots: its kept lanes move to the front, in every channel, and are written behind those already
 * staged; what lies behind them is overwritten by the next. A full page of them moves on to its target.
 */
function keys(
  f: FunctionBuilder,
  page: PageShape,
  at: Local,
  end: Local,
  stage: Local,
  sourcePage: (slot: Local) => Code,
  targetPage: Code,
  table: Local,
): Code {
  const { headDim, slots, dtype } = page, size = KV_ELEMENT_BYTES[dtype], lanes = 16 / size;
  const rowBytes = slots * size, stageRow = rowBytes + 16, [each, first] = LANE_BYTES[dtype];
  const slot = f.i32(), vector = f.i32(), order = f.i32(), from = f.i32(), to = f.i32(), staged = f.i32();
  const lanesTaken = f.v128();
  const putLane = dtype === "f16" ? i32.store16 : i32.store;
  const stagedAt = (d: number) => 16 + d * stageRow;
  const flush = sequence(
    set(to, targetPage),
    ...range(headDim).flatMap((d) =>
      range(rowBytes / 16).map((v) =>
        v128.store(get(to), v128.load(get(stage), stagedAt(d) + v * 16), d * rowBytes + v * 16)
      )
    ),
    set(table, i32.add(get(table), i32.const(4))),
  );
  return sequence(
    v128.store(get(stage), v128.constI32(0)),
    set(staged, get(stage)),
    doWhile(
      i32.ltU(get(at), get(end)),
      set(slot, i32.load(get(at))),
      set(vector, i32.divU(get(slot), i32.const(lanes))),
      set(
        from,
        i32.add(
          sourcePage(slot),
          i32.mul(i32.remU(get(vector), i32.const(slots / lanes)), i32.const(16)),
        ),
      ),
      set(order, get(stage)),
      // A row's slots ascend, so no more than a vector's lanes follow each other here.
      whileLoop(
        i32.and(
          i32.ltU(get(at), get(end)),
          i32.eq(i32.divU(i32.load(get(at)), i32.const(lanes)), get(vector)),
        ),
        putLane(
          get(order),
          i32.add(
            i32.mul(i32.remU(i32.load(get(at)), i32.const(lanes)), i32.const(each)),
            i32.const(first),
          ),
        ),
        set(order, i32.add(get(order), i32.const(size))),
        set(at, i32.add(get(at), i32.const(4))),
      ),
      set(lanesTaken, v128.load(get(stage))),
      ...range(headDim).map((d) =>
        v128.store(
          get(staged),
          i8x16.swizzle(v128.load(get(from), d * rowBytes), get(lanesTaken)),
          stagedAt(d),
        )
      ),
      set(staged, i32.add(get(staged), i32.sub(get(order), get(stage)))),
      when(
        i32.eqz(i32.ltU(i32.sub(get(staged), get(stage)), i32.const(rowBytes))),
        flush,
        ...range(headDim).map((d) =>
          v128.store(get(stage), v128.load(get(stage), stagedAt(d) + rowBytes), stagedAt(d))
        ),
        set(staged, i32.sub(get(staged), i32.const(rowBytes))),
      ),
    ),
    when(i32.ltU(get(stage), get(staged)), flush),
  );
}

/** Value after value, a target page at a time. */
function values(
  f: FunctionBuilder,
  page: PageShape,
  at: Local,
  end: Local,
  sourcePage: (slot: Local) => Code,
  targetPage: Code,
  table: Local,
): Code {
  const { headDim, slots, dtype } = page, bytes = headDim * KV_ELEMENT_BYTES[dtype];
  const slot = f.i32(), from = f.i32(), to = f.i32(), pageEnd = f.i32();
  // A value's bytes are a multiple of 8.
  const vectors = Math.floor(bytes / 16);
  return whileLoop(
    i32.ltU(get(at), get(end)),
    set(to, i32.add(targetPage, i32.const(halfBytes(page)))),
    set(table, i32.add(get(table), i32.const(4))),
    set(pageEnd, i32.add(get(at), i32.const(4 * slots))),
    set(pageEnd, i32.select(get(pageEnd), get(end), i32.ltU(get(pageEnd), get(end)))),
    doWhile(
      i32.ltU(get(at), get(pageEnd)),
      set(slot, i32.load(get(at))),
      set(
        from,
        i32.add(
          i32.add(sourcePage(slot), i32.const(halfBytes(page))),
          i32.mul(i32.remU(get(slot), i32.const(slots)), i32.const(bytes)),
        ),
      ),
      ...range(vectors).map((v) => v128.store(get(to), v128.load(get(from), v * 16), v * 16)),
      ...range((bytes - vectors * 16) / 4).map((word) => {
        const offset = vectors * 16 + word * 4;
        return f32.store(get(to), f32.load(get(from), offset), offset);
      }),
      set(at, i32.add(get(at), i32.const(4))),
      set(to, i32.add(get(to), i32.const(bytes))),
    ),
  );
}
