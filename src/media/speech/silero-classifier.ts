/**
 * Speech by Silero's model with WebRTC's detector beside it: the model decides while its answers are fresh, and the detector
 * whenever the model is behind, has failed or has no room. The caller of `isSpeech` never waits.
 */
import type { SileroCounters } from './silero-census.ts';
import { CHUNK, type SileroSlots } from './silero-slots.ts';
import type { SpeechClassifier } from './vad.ts';

/** The model's own: speech begins above, and goes on down to 0.15 less. */
const BEGINS = 0.5;
const GOES_ON = 0.35;
/** At the beginning of a sound that the detector takes for speech, this much from the model is enough. */
const SUPPORTS = 0.25;
/** Chunks that wait, beyond which its answers are about something else. */
const MAX_BEHIND = 2;

export class SileroClassifier implements SpeechClassifier {
  readonly #slots: SileroSlots;
  readonly #beside: SpeechClassifier;
  readonly #counters: SileroCounters;
  readonly #chunk = new Int16Array(CHUNK);
  #slot: number;
  #fill = 0;
  #isSpeech = false;

  constructor(slots: SileroSlots, beside: SpeechClassifier, counters: SileroCounters) {
    this.#slots = slots;
    this.#beside = beside;
    this.#counters = counters;
    this.#slot = slots.take();
  }

  isSpeech(frame: Int16Array, level: number): boolean {
    const beside = this.#beside.isSpeech(frame, level);
    const slots = this.#slots;
    if (this.#slot < 0 || slots.state !== 'ready') return this.#fallBack(beside);
    this.#give(frame);
    if (slots.judged(this.#slot) === 0) return this.#fallBack(beside);
    if (slots.waiting(this.#slot) > MAX_BEHIND) {
      this.#counters.lateFrames++;
      return this.#fallBack(beside);
    }
    this.#counters.judgedFrames++;
    const speech = slots.speech(this.#slot);
    const limit = this.#isSpeech ? GOES_ON : beside ? SUPPORTS : BEGINS;
    this.#isSpeech = speech >= limit;
    return this.#isSpeech;
  }

  /** Idempotent. */
  free(): void {
    if (this.#slot >= 0) this.#slots.release(this.#slot);
    this.#slot = -1;
    this.#beside.free();
  }

  #give(frame: Int16Array): void {
    for (let at = 0; at < frame.length;) {
      const part = Math.min(CHUNK - this.#fill, frame.length - at);
      for (let i = 0; i < part; i++) this.#chunk[this.#fill + i] = frame[at + i] as number;
      this.#fill += part;
      at += part;
      if (this.#fill < CHUNK) return;
      this.#fill = 0;
      if (this.#slots.push(this.#slot, this.#chunk)) this.#counters.chunks++;
      else this.#counters.dropped++;
    }
  }

  #fallBack(beside: boolean): boolean {
    this.#counters.fallbackFrames++;
    this.#isSpeech = beside;
    return beside;
  }
}
