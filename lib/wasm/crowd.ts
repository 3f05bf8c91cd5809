/**
 * Whether a step is worth sharing among threads. On a machine whose cores are taken by others, a thread that is waited for
 * may not be running, and a small step spends longer at its barriers than in its products. Results do not depend on the
 * answer: threads split whole outputs.
 */

/** Steps of more multiply-adds than this are always shared: 32 million take some two milliseconds on one core. */
const ALONE_PRODUCTS_MAX = 32e6;
/** Barriers of a step that ended in sleep, above which the machine counts as crowded. */
const CROWDED_SLEEPS = 2;
/** Weight of the newest shared step, and how fast the memory of a crowd fades while steps run alone. */
const NEWEST = 0.25;
const FADING = 0.98;

export class Crowd {
  #sleeps = 0;

  /** `sharesAll`: no step runs alone, so that all threads are tested or measured. */
  constructor(readonly sharesAll: boolean = false) {}

  /** Whether a step of so many multiply-adds should run on one thread. */
  alone(products: number): boolean {
    return !this.sharesAll && products <= ALONE_PRODUCTS_MAX && this.#sleeps > CROWDED_SLEEPS;
  }

  /** Says how a shared step went. */
  shared(sleeps: number): void {
    this.#sleeps += NEWEST * (sleeps - this.#sleeps);
  }

  /** Says that a step ran alone: now and then one is shared again, to see whether the crowd has gone. */
  ranAlone(): void {
    this.#sleeps *= FADING;
  }
}
