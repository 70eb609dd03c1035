/** Text between who writes it and who reads it: bounded, in order, ended once. */

export class TextQueue implements AsyncIterable<string> {
  readonly #maxChars: number;
  readonly #texts: string[] = [];
  #chars = 0;
  #isEnded = false;
  #wake: (() => void) | null = null;

  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** False: there is no room for it. */
  push(text: string): boolean {
    if (this.#isEnded || this.#chars + text.length > this.#maxChars) return false;
    this.#texts.push(text);
    this.#chars += text.length;
    this.#wake?.();
    return true;
  }

  /** What is in it is still read. Idempotent. */
  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** For one reader. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void> {
    for (;;) {
      const text = this.#texts.shift();
      if (text !== undefined) {
        this.#chars -= text.length;
        yield text;
      } else if (this.#isEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }
}
