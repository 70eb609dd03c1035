/**
 * Short sounds over or between the agent's utterances: a key that is typed, a beep. One after the other, a few may wait.
 * Like the background they are sent and not said.
 */
import { factorOf, mixInto, soften } from '../playout/gain.ts';
import { MAX_EFFECTS } from './mix-types.ts';
import { Seam } from '../playout/seam.ts';
import { FRAME_SAMPLES } from '../types.ts';

type Effect = { readonly pcm: Int16Array; readonly factor: number; readonly isAlone: boolean };

/** One for all calls: no frame is worked on while another one is. */
const SCRATCH = new Int16Array(FRAME_SAMPLES);

export class Effects {
  readonly #waiting: Effect[] = [];
  readonly #seam = new Seam();
  #at = 0;
  #wasCut = false;
  /** Frames that have had nothing in them; the first of them has the end of the last effect. */
  #quiet = 2;
  /** Effects that found no room. */
  dropped = 0;
  readonly #onChange: () => void;

  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** None is heard, dies away or waits. */
  get isAtRest(): boolean {
    return this.#waiting.length === 0 && this.#quiet > 1 && this.#seam.isStill;
  }

  /** Played after those that wait. `isAlone`: the voice waits for it. */
  add(pcm: Int16Array, gainDb: number, isAlone = false): void {
    if (this.#waiting.length > MAX_EFFECTS) this.dropped++;
    else this.#waiting.push({ pcm, factor: factorOf(gainDb), isAlone });
    this.#onChange();
  }

  /** What is heard next, or waits to be, is to be heard without the voice. */
  get wantsSilence(): boolean {
    for (const { isAlone } of this.#waiting) if (isAlone) return true;
    return false;
  }

  /** Nothing of what is there is wanted any more. */
  clear(): void {
    if (this.#at > 0) this.#seam.jump();
    this.#waiting.length = 0;
    this.#at = 0;
    this.#wasCut = false;
  }

  /** Adds the next frame to what is in `into`; while held it stands still. */
  mix(into: Int16Array, isHeld: boolean): void {
    const frame = SCRATCH;
    if (isHeld && this.#at > 0) this.#wasCut = true;
    const filled = isHeld ? 0 : this.#read(frame);
    this.#quiet = filled > 0 ? 0 : this.#quiet + 1;
    if (this.#quiet > 1) return;
    this.#seam.shape(frame, filled);
    mixInto(into, frame, 1, 1);
  }

  #read(frame: Int16Array): number {
    const effect = this.#waiting[0];
    if (effect === undefined) return 0;
    const { pcm, factor } = effect;
    if (this.#wasCut) this.#seam.rise();
    this.#wasCut = false;
    const count = Math.min(frame.length, pcm.length - this.#at);
    for (let i = 0; i < count; i++) frame[i] = soften((pcm[this.#at + i] as number) * factor);
    this.#at += count;
    if (this.#at === pcm.length) {
      this.#waiting.shift();
      this.#at = 0;
    }
    return count;
  }
}
