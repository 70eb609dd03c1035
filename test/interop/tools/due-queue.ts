/** Things to do at their times, with one timer: a timer for each would change their order. */

type Due = { readonly atMs: number; readonly act: () => void };

export class DueQueue {
  readonly #waiting: Due[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `atMs` by performance.now(). Equal times keep their order. */
  add(atMs: number, act: () => void): void {
    const due = { atMs, act };
    const behind = this.#waiting.findLastIndex((one) => one.atMs <= atMs);
    this.#waiting.splice(behind + 1, 0, due);
    this.#run();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  #run(): void {
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    while (this.#waiting[0] !== undefined && this.#waiting[0].atMs <= nowMs) {
      this.#waiting.shift()?.act();
    }
    const next = this.#waiting[0];
    if (next !== undefined) this.#timer = setTimeout(() => this.#run(), next.atMs - nowMs);
  }
}
