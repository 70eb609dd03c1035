/**
 * Sound behind the agent all call long, in a loop over shared memory: quieter while he speaks, and silent while something
 * else is heard in his place. It is part of what is sent and never of what is said: no utterance knows of it.
 */
import { factorOf, mixInto } from '../playout/gain.ts';
import type { BackgroundSound } from './mix-types.ts';
import { FRAME_SAMPLES } from '../types.ts';

/**
 * Of the way to where the level is to be, taken in one frame: down within 80 ms, up again within half a second. Before
 * anything that takes its place it is gone in one.
 */
const DOWN = 0.5;
const UP = 0.12;
/** Less than this is nothing (-70 dB). */
const NOTHING = 0.0003;
/** One for all calls: no frame is worked on while another one is. */
const SCRATCH = new Int16Array(FRAME_SAMPLES);

export type BackgroundMoment = {
  readonly isAgentSpeaking: boolean;
  readonly isCallerSpeaking: boolean;
  /** Something else is heard in the agent's place. */
  readonly isHeld: boolean;
};

export class Background {
  #sound: BackgroundSound | null = null;
  /** Takes the place of `#sound` once that has died away; undefined: nothing does. */
  #next: BackgroundSound | null | undefined;
  #at = 0;
  #level = 0;
  readonly #onChange: () => void;

  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** There is none, nor will there be. */
  get isAtRest(): boolean {
    return this.#sound === null && this.#next === undefined;
  }

  /** Something of it is heard. */
  get isHeard(): boolean {
    return this.#level > 0;
  }

  /** Null ends it. What is there dies away first. */
  set(sound: BackgroundSound | null): void {
    this.#next = sound;
    this.#onChange();
  }

  /** Adds its next frame to what is in `into`. */
  mix(into: Int16Array, moment: BackgroundMoment): void {
    if (this.#next !== undefined && this.#level === 0) this.#begin(this.#next);
    const sound = this.#sound;
    if (sound === null) return;
    const wanted = moment.isHeld || this.#next !== undefined ? 0 : levelOf(sound, moment);
    if (this.#level === 0 && wanted === 0) return;
    const before = this.#level;
    const pace = moment.isHeld ? 1 : wanted < before ? DOWN : UP;
    const after = before + (wanted - before) * pace;
    this.#level = wanted === 0 && after < NOTHING ? 0 : after;
    this.#read(sound.pcm);
    mixInto(into, SCRATCH, before, this.#level);
  }

  #begin(sound: BackgroundSound | null): void {
    this.#sound = sound;
    this.#next = undefined;
    this.#at = 0;
  }

  #read(pcm: Int16Array): void {
    const frame = SCRATCH;
    let at = this.#at;
    for (let i = 0; i < frame.length; i++) {
      frame[i] = pcm[at] as number;
      at = at + 1 === pcm.length ? 0 : at + 1;
    }
    this.#at = at;
  }
}

function levelOf(sound: BackgroundSound, moment: BackgroundMoment): number {
  const isDucked = moment.isAgentSpeaking || (sound.ducksForCaller && moment.isCallerSpeaking);
  return factorOf(sound.gainDb - (isDucked ? sound.duckDb : 0));
}
