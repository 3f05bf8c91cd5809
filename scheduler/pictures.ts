/**
 * Pictures between their file and the prompts that show them. Features live in rows of the embedding store; requests
 * that show the same picture (by content) share them. Features that nobody needs any more stay until their rows are
 * wanted, the least recently used go first: the store is a cache of as many bytes as it has rows.
 */
import { createHash } from "node:crypto";
import { assert } from "../lib/core/assert.ts";
import type { PreparedImage } from "../lib/image/image.ts";
import { checkBuddy, checkBuddyIdle } from "../pool/integrity.ts";
import { Buddy } from "../pool/buddy.ts";
import type { AdmittedImage } from "./admission.ts";
import { compareRank, type Ranked } from "./rank.ts";
import type { Sequence } from "./sequence.ts";

/** `unprepared` and `prepared` wait; `preparing` and `encoding` are worked on; `encoded` has its features. */
export type PictureState = "unprepared" | "preparing" | "prepared" | "encoding" | "encoded" | "failed";

export class Picture {
  state: PictureState = "unprepared";
  prepared: PreparedImage | null = null;
  /** When it came to where it waits now. */
  sinceMs = 0;
  readonly holders = new Set<Sequence>();

  constructor(readonly image: AdmittedImage, readonly row: number) {}

  get rows(): number {
    return this.image.rows;
  }

  /** The first of its holders in the order of service. */
  get rank(): Ranked {
    let first: Sequence | null = null;
    for (const holder of this.holders) if (first === null || compareRank(holder, first) < 0) first = holder;
    assert(first !== null, "a picture that waits is held");
    return first;
  }

  get busy(): boolean {
    return this.state === "preparing" || this.state === "encoding";
  }
}

/** Content hash of a picture's file. */
export function pictureHash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export class PictureStore {
  readonly #rows: Buddy;
  readonly #pictures = new Set<Picture>();
  /** The picture that further requests may share. */
  readonly #byHash = new Map<string, Picture>();
  /** Encoded pictures that nobody holds, least recently used first. */
  readonly #idle = new Set<Picture>();
  /** Called when rows have come back. */
  onRoom: (() => void) | null = null;

  constructor(private readonly rowCount: number) {
    this.#rows = new Buddy(rowCount);
  }

  get size(): number {
    return this.#pictures.size;
  }

  /** Whether the features of all these pictures fit an empty store at one time. */
  fits(images: readonly AdmittedImage[]): boolean {
    const distinct = new Map(images.map((image) => [image.hash, image.rows]));
    if (distinct.size === 0) return true;
    const empty = new Buddy(this.rowCount);
    return [...distinct.values()].every((rows) => empty.allocateRun(rows) !== null);
  }

  /** Rows for every picture that is not there yet, or null and nothing at all. One entry an image, in order. */
  take(
    sequence: Sequence,
    images: readonly AdmittedImage[],
  ): { pictures: Picture[]; fresh: Picture[] } | null {
    const fresh = new Map<string, Picture>();
    const pictures: Picture[] = [];
    for (const image of images) {
      let picture = this.#byHash.get(image.hash) ?? fresh.get(image.hash);
      if (picture === undefined) {
        const row = this.#allocate(image.rows, pictures);
        if (row === null) {
          for (const { row, rows } of fresh.values()) this.#rows.freeRun(row, rows);
          return null;
        }
        fresh.set(image.hash, picture = new Picture(image, row));
      }
      pictures.push(picture);
    }
    for (const [hash, picture] of fresh) {
      this.#pictures.add(picture);
      this.#byHash.set(hash, picture);
    }
    for (const picture of pictures) {
      picture.holders.add(sequence);
      this.#idle.delete(picture);
    }
    return { pictures, fresh: [...fresh.values()] };
  }

  /** A holder lets go. Rows of a picture that nobody holds come back, at once or when the work on it has ended. */
  release(picture: Picture, sequence: Sequence): void {
    assert(picture.holders.delete(sequence), "a picture is released by one of its holders");
    if (picture.holders.size > 0) return;
    if (picture.state === "encoded") {
      this.#idle.add(picture);
      this.onRoom?.();
      return;
    }
    this.#unshare(picture);
    if (!picture.busy) this.#remove(picture);
  }

  /** Work on a picture has ended in `state`. False when nobody holds it any more: it is gone. */
  settle(picture: Picture, state: "prepared" | "encoded" | "failed"): boolean {
    assert(picture.busy, "work that ends has begun");
    picture.state = state;
    if (state !== "prepared") picture.prepared = null;
    if (state === "failed") this.#unshare(picture);
    if (picture.holders.size > 0) return true;
    this.#unshare(picture);
    this.#remove(picture);
    return false;
  }

  /** Throws AssertionError when rows and pictures disagree, or, when `idle`, if any picture is left. */
  check(idle: boolean): void {
    checkBuddy(this.#rows);
    let rows = 0;
    for (const picture of this.#pictures) {
      const cached = this.#idle.has(picture);
      assert(picture.holders.size > 0 || picture.busy || cached, "a picture is held, worked on or cached");
      assert(
        !cached || (picture.holders.size === 0 && picture.state === "encoded"),
        "a cached picture is idle",
      );
      rows += picture.rows;
    }
    assert(rows === this.#rows.allocatedUnits, "every row in use belongs to a picture");
    if (!idle || [...this.#pictures].some((picture) => picture.busy)) return;
    assert(this.#pictures.size === this.#idle.size, "no picture is held when nothing runs");
    if (this.#pictures.size === 0) checkBuddyIdle(this.#rows);
  }

  /** Forgets features that nobody needs. */
  clear(): void {
    for (const picture of this.#idle) this.#evict(picture);
  }

  /** A run of rows; pictures of `wanted` are not evicted for it. */
  #allocate(rows: number, wanted: readonly Picture[]): number | null {
    for (;;) {
      const row = this.#rows.allocateRun(rows);
      if (row !== null) return row;
      let oldest: Picture | undefined;
      for (const picture of this.#idle) {
        if (wanted.includes(picture)) continue;
        oldest = picture;
        break;
      }
      if (oldest === undefined) return null;
      this.#evict(oldest);
    }
  }

  #evict(picture: Picture): void {
    this.#idle.delete(picture);
    this.#unshare(picture);
    assert(this.#pictures.delete(picture), "a picture is evicted once");
    this.#rows.freeRun(picture.row, picture.rows);
  }

  #unshare(picture: Picture): void {
    if (this.#byHash.get(picture.image.hash) === picture) this.#byHash.delete(picture.image.hash);
  }

  #remove(picture: Picture): void {
    assert(this.#pictures.delete(picture), "a picture is removed once");
    picture.prepared = null;
    this.#rows.freeRun(picture.row, picture.rows);
    this.onRoom?.();
  }
}
