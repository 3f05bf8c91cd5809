/**
 * Encode: pictures to features in the embedding store. Sequences get the rows of all their pictures at once, in the
 * order in which they came, so that none waits with half of what it needs. Files are decoded off this thread, a bounded number
 * at a time.
 */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { ImagePreparer, PreparedImage } from "../lib/image/image.ts";
import type { Actor } from "./actor.ts";
import { clientError } from "./client_error.ts";
import type { Outcome } from "./lane.ts";
import type { Picture } from "./pictures.ts";
import type { StageEntry } from "./plan_view.ts";
import { compareRank } from "./rank.ts";
import { RankedQueue } from "./ranked_queue.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

export class Encode implements Actor<StageMessages["encode"]> {
  /** Sequences without rows. */
  readonly #waiting = new RankedQueue<Sequence>();
  #unprepared: Picture[] = [];
  #prepared: Picture[] = [];
  /** Pictures whose pixels are in memory or on their way there. */
  #decoded = 0;

  constructor(
    private readonly parts: StageParts,
    private readonly images: ImagePreparer,
    private readonly decodedMax: number,
  ) {}

  receive(message: StageMessages["encode"]): void {
    switch (message.type) {
      case "come":
        this.#waiting.push(message.sequence);
        break;
      case "prepared":
        this.#settlePreparation(message.picture, message.image);
        break;
      case "unprepared":
        this.#failPreparation(message.picture, message.error);
        break;
      case "encoded":
        for (const picture of message.pictures) this.#settleEncoding(picture, message.outcome);
        break;
      case "room":
        break;
    }
    this.#grantRows();
    this.#forget();
    this.#prepareNext();
  }

  /** Pictures that are ready for the tower, first served first. */
  ready(): StageEntry[] {
    this.#forget();
    this.#prepared.sort((a, b) => compareRank(a.rank, b.rank));
    return this.#prepared.map(({ rows, sinceMs, rank: { rankMs, order } }) => ({
      rankMs,
      order,
      sinceMs,
      tokens: rows,
      pages: 0,
    }));
  }

  /** Whether more pictures are on their way to the tower. Those that wait for room in memory come only after a step. */
  get company(): boolean {
    return this.#decoded > this.#prepared.length;
  }

  /** Starts a step over these ready pictures, which are the first ones. */
  begin({ length: items }: readonly number[]): void {
    const { engine, lane, metrics, send } = this.parts;
    const pictures = this.#prepared.splice(0, items);
    const images = pictures.map((picture) => {
      assert(
        picture.state === "prepared" && picture.prepared !== null,
        "a picture is encoded when it is prepared",
      );
      this.#begin(picture, "encoding");
      return { ...picture.prepared, embeddingRow: picture.row, embeddingRows: picture.rows };
    });
    metrics.encodedImages += pictures.length;
    lane.run("encode", { items, size: items }, () => engine.encode(images), (outcome) => {
      send("encode", { type: "encoded", pictures, outcome });
    });
  }

  /** Drops the pictures that nobody waits for any more; their rows went back when the last holder left. */
  #forget(): void {
    const held = (picture: Picture) => picture.holders.size > 0;
    const before = this.#prepared.length;
    this.#prepared = this.#prepared.filter(held);
    this.#decoded -= before - this.#prepared.length;
    this.#unprepared = this.#unprepared.filter(held);
  }

  #begin(picture: Picture, state: "preparing" | "encoding"): void {
    picture.state = state;
    const now = this.parts.clock.now();
    for (const holder of picture.holders) holder.timer.begin(now);
  }

  #grantRows(): void {
    const { clock, metrics, pictures: store } = this.parts;
    for (;;) {
      const sequence = this.#waiting.live().at(0);
      if (sequence === undefined) return;
      const taken = store.take(sequence, sequence.prompt.images);
      if (taken === null) return;
      this.#waiting.remove(sequence);
      sequence.pictures = taken.pictures;
      metrics.sharedImages += taken.pictures.length - taken.fresh.length;
      this.#unprepared.push(...taken.fresh);
      const now = clock.now();
      for (const picture of new Set(taken.pictures)) if (picture.busy) sequence.timer.begin(now);
      this.#advance(sequence);
    }
  }

  #prepareNext(): void {
    for (const picture of this.#unprepared.splice(0, this.decodedMax - this.#decoded)) {
      this.#decoded++;
      this.#begin(picture, "preparing");
      void this.#prepare(picture);
    }
  }

  async #prepare(picture: Picture): Promise<void> {
    const { clock, metrics, send } = this.parts;
    const askedMs = clock.now();
    try {
      const image = await this.images.prepare(picture.image.bytes, picture.image.param);
      metrics.pictureSeconds.observe((clock.now() - askedMs) / 1000);
      send("encode", { type: "prepared", picture, image });
    } catch (error) {
      send("encode", { type: "unprepared", picture, error });
    }
  }

  #settlePreparation(picture: Picture, image: PreparedImage): void {
    const { clock, pictures: store } = this.parts;
    this.#endWork(picture);
    picture.prepared = image;
    picture.sinceMs = clock.now();
    if (store.settle(picture, "prepared")) this.#prepared.push(picture);
    else this.#decoded--;
  }

  #failPreparation(picture: Picture, error: unknown): void {
    this.#endWork(picture);
    this.#decoded--;
    if (!this.parts.pictures.settle(picture, "failed")) return;
    for (const sequence of picture.holders) {
      const { code, message } = clientError(error, sequence.request.id);
      // The picture may be shared: every request is told of the field in which it sent it itself.
      const own = sequence.prompt.images.find((image) => image.hash === picture.image.hash);
      this.#fail(sequence, new RequestError(code, message, own?.param ?? null));
    }
  }

  #settleEncoding(picture: Picture, outcome: Outcome<void>): void {
    this.#endWork(picture);
    this.#decoded--;
    if (!this.parts.pictures.settle(picture, outcome.ok ? "encoded" : "failed")) return;
    for (const sequence of picture.holders) {
      if (outcome.ok) this.#advance(sequence);
      else this.#fail(sequence, new RequestError("engine_failed", "The engine could not read a picture."));
    }
  }

  #endWork(picture: Picture): void {
    const now = this.parts.clock.now();
    for (const holder of picture.holders) holder.timer.end(now);
  }

  /** A sequence goes on when all its pictures have features. */
  #advance(sequence: Sequence): void {
    if (sequence.state !== "encode" || !sequence.pictures.every(({ state }) => state === "encoded")) return;
    sequence.moveTo("prefill", this.parts.clock.now());
    this.parts.send("prefill", { type: "come", sequence });
  }

  #fail(sequence: Sequence, error: RequestError): void {
    this.parts.send("emit", { type: "fail", sequence, error });
  }
}
