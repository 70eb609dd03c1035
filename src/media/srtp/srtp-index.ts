/** Where a packet stands in its stream: the 48-bit index behind 16 bits of sequence, and what has been seen (RFC 3711 3.3). */

/** Packets behind the newest one that are told apart; RFC 3711 asks for 64 at least. */
export const REPLAY_WINDOW = 480;

/** One word more than the window: the one that the newest packets fill. */
const WORDS = REPLAY_WINDOW / 32 + 1;

/** The index that `sequence` most likely means, next to the highest one so far; below 0: before the stream began. */
export function guessIndex(highest: number, sequence: number): number {
  return highest + (((sequence - highest) << 16) >> 16);
}

/** Which indices have been received. Ask before, note after a packet has been authenticated. */
export class ReplayWindow {
  /** A ring of bits: nothing is shifted, words that come into use are cleared. */
  readonly #bits = new Uint32Array(WORDS);
  #highest = -1;

  /** -1 before the first. */
  get highest(): number {
    return this.#highest;
  }

  /** False for what was received before, or is too old to know. */
  isFresh(index: number): boolean {
    if (index < 0) return false;
    if (index > this.#highest) return true;
    if (this.#highest - index >= REPLAY_WINDOW) return false;
    return ((this.#bits[wordOf(index)] as number) & bitOf(index)) === 0;
  }

  note(index: number): void {
    if (index > this.#highest) this.#advance(index);
    const word = wordOf(index);
    this.#bits[word] = (this.#bits[word] as number) | bitOf(index);
  }

  #advance(index: number): void {
    const from = this.#highest < 0 ? -1 : Math.floor(this.#highest / 32);
    const to = Math.floor(index / 32);
    const first = Math.max(from + 1, to - WORDS + 1);
    for (let word = first; word <= to; word++) this.#bits[word % WORDS] = 0;
    this.#highest = index;
  }
}

function wordOf(index: number): number {
  return Math.floor(index / 32) % WORDS;
}

function bitOf(index: number): number {
  return 1 << (index % 32);
}
