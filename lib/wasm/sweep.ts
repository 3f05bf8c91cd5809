/** Sums of a run of panels, in register tiles: which tile computes what. One call from the host for all of them. */
import {
  call,
  type Code,
  either,
  F32,
  get,
  I32,
  i32,
  type ModuleBuilder,
  range,
  sequence,
  set,
  type ValueType,
  when,
  whileLoop,
} from "./emit.ts";

/** Function indices of tiles by the rows that they take: of one panel and, where there is one, of several. */
export interface TileOfRows {
  readonly one: number;
  readonly wide?: { readonly panels: number; readonly tile: number };
}

/** What every tile takes: a, bytes between rows of a, panel, bytes between panels, c, bytes between rows of c, length. */
export const TILE_PARAMETERS: readonly ValueType[] = [I32, I32, I32, I32, I32, I32, I32];

/**
 * sweep(a, bytes between rows of a, panel, bytes between panels, c, bytes between rows of c, length, rows, panels): panel
 * after panel, all rows of each in tiles of equal height: of at most 6, 8 rows are 4 + 4 and 16 are 6 + 5 + 5. Where all tiles
 * are of a height that can, several panels go at a time. `length` is handed to tiles, and so is the last parameter that
 * `scaled` ones take.
 */
export function addSweep(module: ModuleBuilder, tiles: readonly TileOfRows[], scaled: boolean): void {
  const types = [...TILE_PARAMETERS, I32, I32, ...(scaled ? [F32] : [])];
  module.add("sweep", types, (f, a, aStride, b, bStride, c, cStride, length, rows, panels, scale) => {
    const count = f.i32(), height = f.i32(), taller = f.i32();
    const tile = f.i32(), h = f.i32(), from = f.i32(), to = f.i32(), taken = f.i32();
    const run = (index: number): Code => {
      const operands = [from, aStride, b, bStride, to, cStride, length, ...(scaled ? [scale] : [])];
      return call(index, ...operands.map(get));
    };
    const least = i32.const(tiles.length);
    const ofHeight = ({ one, wide }: TileOfRows) =>
      wide === undefined ? run(one) : either(
        i32.eq(get(taken), i32.const(wide.panels)),
        run(wide.tile),
        run(one),
      );
    return sequence(
      set(count, i32.divU(i32.add(get(rows), i32.const(tiles.length - 1)), least)),
      set(height, i32.divU(get(rows), get(count))),
      set(taller, i32.remU(get(rows), get(count))),
      whileLoop(
        get(panels),
        set(taken, i32.const(1)),
        ...tiles.map(({ wide }, index) =>
          wide === undefined ? [] : when(
            i32.and(
              i32.eqz(get(taller)),
              i32.and(
                i32.eq(get(height), i32.const(index + 1)),
                i32.eqz(i32.ltU(get(panels), i32.const(wide.panels))),
              ),
            ),
            set(taken, i32.const(wide.panels)),
          )
        ),
        set(from, get(a)),
        set(to, get(c)),
        set(tile, i32.const(0)),
        whileLoop(
          i32.ltU(get(tile), get(count)),
          set(h, i32.add(get(height), i32.ltU(get(tile), get(taller)))),
          ...range(tiles.length).map((index) =>
            when(i32.eq(get(h), i32.const(index + 1)), ofHeight(tiles[index]))
          ),
          set(from, i32.add(get(from), i32.mul(get(h), get(aStride)))),
          set(to, i32.add(get(to), i32.mul(get(h), get(cStride)))),
          set(tile, i32.add(get(tile), i32.const(1))),
        ),
        set(b, i32.add(get(b), i32.mul(get(taken), get(bStride)))),
        set(c, i32.add(get(c), i32.shl(get(taken), i32.const(5)))),
        set(panels, i32.sub(get(panels), get(taken))),
      ),
    );
  });
}
