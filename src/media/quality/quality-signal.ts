/** What the caller's audio sounds like, by counting: one pass, nothing kept but sums. */
import type { FrameSound } from '../speech/frame-sound.ts';
import { isFull, LevelBook, NO_LEVELS, packLevel } from './quality-level.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** The smallest step but one of G.711: a line with a microphone on it is never this quiet for long. */
const DIGITAL_SILENCE = 16;
/** The top code of either law and nothing below it (mu: 32,124 after 31,100; A: 32,256 after 31,232). */
const CLIPPED = 31_900;
/** Clipped samples in a frame: one peak may touch the limit, three of them are a flat top. */
const MIN_CLIPPED = 3;
/** A frame without a peak above -18 dBov could not have clipped. */
const LOUD = 4096;
/** Samples of the agent above this, of those looked at, are no background. */
const VOICE = 200;
const STEP = 8;

export class SignalBook {
  /** Samples of a frame that comes in parts. */
  #fill = 0;
  #frames = 0;
  /** Levels that wait to be put into the book. */
  #waiting = NO_LEVELS;
  #silentFrames = 0;
  #clippedFrames = 0;
  #loudFrames = 0;
  #speechFrames = 0;
  #echoFrames = 0;
  #agentFrames = 0;
  #doubleFrames = 0;
  readonly #levels = new LevelBook();
  /** Of the parts so far. */
  #energy = 0;
  #peak = 0;
  #clipped = 0;

  /**
   * Audio of the caller as it came, any length: whether it is speech, and whether the agent's own voice. `sound`: its
   * levels, where somebody has measured them.
   */
  caller(
    pcm: Int16Array,
    length: number,
    isSpeech: boolean,
    isEcho: boolean,
    sound: FrameSound | null = null,
  ): void {
    if (sound !== null && this.#fill === 0) {
      const { peak } = sound;
      const clipped = peak < CLIPPED ? 0 : clippedOf(pcm, 0, length);
      this.#count(sound.energy, peak, clipped, isSpeech, isEcho);
      return;
    }
    for (let done = 0; done < length;) {
      const part = Math.min(FRAME_SAMPLES - this.#fill, length - done);
      this.#measure(pcm, done, part);
      this.#fill += part;
      done += part;
      if (this.#fill === FRAME_SAMPLES) this.#endFrame(isSpeech, isEcho);
    }
  }

  /** Every frame of an utterance that is sent; whether the caller speaks meanwhile. */
  agent(frame: Int16Array, isCallerSpeaking: boolean): void {
    if (!isVoice(frame)) return;
    this.#agentFrames++;
    if (isCallerSpeaking) this.#doubleFrames++;
  }

  #measure(pcm: Int16Array, from: number, count: number): void {
    let energy = 0;
    let peak = 0;
    for (let i = from; i < from + count; i++) {
      const sample = pcm[i] as number;
      const size = sample < 0 ? -sample : sample;
      energy += sample * sample;
      if (size > peak) peak = size;
    }
    this.#energy += energy;
    if (peak > this.#peak) this.#peak = peak;
    if (peak >= CLIPPED) this.#clipped += clippedOf(pcm, from, count);
  }

  #endFrame(isSpeech: boolean, isEcho: boolean): void {
    this.#count(this.#energy, this.#peak, this.#clipped, isSpeech, isEcho);
    this.#fill = 0;
    this.#energy = 0;
    this.#peak = 0;
    this.#clipped = 0;
  }

  #count(energy: number, peak: number, clipped: number, isSpeech: boolean, isEcho: boolean): void {
    this.#frames++;
    if (peak <= DIGITAL_SILENCE) this.#silentFrames++;
    if (peak > LOUD) this.#loudFrames++;
    if (clipped >= MIN_CLIPPED) this.#clippedFrames++;
    if (isEcho) this.#echoFrames++;
    else {
      this.#waiting = packLevel(this.#waiting, energy / FRAME_SAMPLES);
      if (isFull(this.#waiting)) this.#keepLevels();
      if (isSpeech) this.#speechFrames++;
    }
  }

  #keepLevels(): void {
    this.#levels.take(this.#waiting);
    this.#waiting = NO_LEVELS;
  }

  get levels(): LevelBook {
    this.#keepLevels();
    return this.#levels;
  }

  /** Frames of 20 ms. */
  get frames(): number {
    return this.#frames;
  }

  get silentFrames(): number {
    return this.#silentFrames;
  }

  get clippedFrames(): number {
    return this.#clippedFrames;
  }

  /** Those that are loud enough to clip at all. */
  get loudFrames(): number {
    return this.#loudFrames;
  }

  get speechFrames(): number {
    return this.#speechFrames;
  }

  get echoFrames(): number {
    return this.#echoFrames;
  }

  get agentFrames(): number {
    return this.#agentFrames;
  }

  get doubleFrames(): number {
    return this.#doubleFrames;
  }
}

function clippedOf(pcm: Int16Array, from: number, count: number): number {
  let clipped = 0;
  for (let i = from; i < from + count; i++) {
    const sample = pcm[i] as number;
    if (sample >= CLIPPED || sample <= -CLIPPED) clipped++;
  }
  return clipped;
}

function isVoice(frame: Int16Array): boolean {
  for (let i = 0; i < frame.length; i += STEP) {
    const sample = frame[i] as number;
    if (sample > VOICE || sample < -VOICE) return true;
  }
  return false;
}
