/** What a pool is made of. */
export interface PoolShape {
  readonly layers: number;
  /** A page is that many slots of one layer. */
  readonly pageSlots: number;
  readonly pageBytes: number;
  readonly pageCount: number;
  /** The longest run, where all pages of a sequence lie in one; absent where they lie apart. */
  readonly runPages?: number;
}
