/** From positions in what a vendor was sent to positions in what the client sent: silence was put in, audio left out. */

type Shift = {
  /** Where in the vendor's audio. */
  readonly atMs: number;
  /** Put in there; negative: so much was left out. */
  readonly ms: number;
};

const MAX_SHIFTS = 256;

export class ClientTime {
  readonly #shifts: Shift[] = [];
  /** The sum of those that were forgotten. */
  #pastMs = 0;

  /** In the order of `atMs`. */
  note(atMs: number, ms: number): void {
    this.#shifts.push({ atMs, ms });
    if (this.#shifts.length > MAX_SHIFTS) this.#pastMs += this.#shifts.shift()?.ms ?? 0;
  }

  /** Whole milliseconds, not below zero. */
  of(vendorMs: number): number {
    let ms = vendorMs - this.#pastMs;
    for (const shift of this.#shifts) {
      if (vendorMs <= shift.atMs) break;
      // A place within silence that was put in is where it was put.
      ms -= Math.min(shift.ms, vendorMs - shift.atMs);
    }
    return Math.max(0, Math.round(ms));
  }
}
