/** Sound played over and over in place of the agent, and the gate that opens and shuts a source without a click. */
import { FRAME_SAMPLES } from '../types.ts';

/** 5 ms. */
const RAMP = 40;
/** One for all calls: no frame is worked on while another one is. */
const SCRATCH = new Int16Array(FRAME_SAMPLES);

/** Lets a source through or not; where that changes, over 5 ms. */
export class Gate {
  #isOpen: boolean;

  constructor(isOpen: boolean) {
    this.#isOpen = isOpen;
  }

  /** Shapes the next frame of the source. */
  shape(frame: Int16Array, isOpen: boolean): void {
    if (isOpen !== this.#isOpen) {
      for (let i = 0; i < RAMP; i++) {
        const gain = isOpen ? (i + 1) / RAMP : (RAMP - 1 - i) / RAMP;
        frame[i] = Math.round((frame[i] as number) * gain);
      }
      if (!isOpen) frame.fill(0, RAMP);
      this.#isOpen = isOpen;
    } else if (!isOpen) frame.fill(0);
  }
}

export class LoopSource {
  readonly #gate = new Gate(false);
  #pcm: Int16Array | null = null;
  /** Takes the place of `#pcm` once that has faded out. */
  #next: Int16Array | null = null;
  #at = 0;
  #isOn = false;
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** The next frame has something of it: also the one after its end, in which it fades out. */
  get isHeard(): boolean {
    return this.#pcm !== null;
  }

  /** Begins with the first sample of `pcm`; null ends. */
  set(pcm: Int16Array | null): void {
    this.#isOn = pcm !== null && pcm.length > 0;
    this.#next = this.#isOn ? pcm : null;
    if (this.#pcm === null) this.#begin();
    this.#onChange();
  }

  /** Adds the next frame to what is in `into`; with `isHeld` the loop stands still and is silent. */
  mix(into: Int16Array, isHeld: boolean): void {
    const pcm = this.#pcm;
    if (pcm === null) return;
    const frame = SCRATCH;
    let at = this.#at;
    for (let i = 0; i < frame.length; i++) {
      frame[i] = pcm[at] as number;
      at = at + 1 === pcm.length ? 0 : at + 1;
    }
    const isOpen = this.#isOn && this.#next === null && !isHeld;
    this.#gate.shape(frame, isOpen);
    for (let i = 0; i < frame.length; i++) {
      const sum = (into[i] as number) + (frame[i] as number);
      into[i] = Math.max(-32_768, Math.min(32_767, sum));
    }
    if (isOpen) this.#at = at;
    else if (!this.#isOn || this.#next !== null) this.#begin();
  }

  #begin(): void {
    this.#pcm = this.#next;
    this.#next = null;
    this.#at = 0;
  }
}
