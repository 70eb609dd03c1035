/**
 * Tells the agent's own voice, coming back from the far end's line or loudspeaker, from the caller's. What was sent is
 * kept; a frame that sounds like speech is compared with it at every delay. Once the delay of the path is known, it is
 * looked at there. Allocates nothing; costs nothing while the agent is silent and next to nothing on a line without echo.
 */
import { FRAME_SAMPLES } from './types.ts';

/** What was sent, kept at 8 kHz and at 2 kHz: longer than any path with a packet and the network's share. */
const KEPT = 8192;
const COARSE_STEP = 4;
const KEPT_COARSE = KEPT / COARSE_STEP;
const MAX_LAG = 3840;
/** Two frames are compared: one alone is too short to be told from a like vowel. */
const WINDOW = 2 * FRAME_SAMPLES;
const WINDOW_COARSE = WINDOW / COARSE_STEP;
const FRAME_COARSE = FRAME_SAMPLES / COARSE_STEP;
const NEAR = 6;
/** The delay of a path does not change; a likeness by chance does. */
const STEADY = 2;
/** Likeness (normalised correlation) of an echo on a path that is not known yet: sure of it, or worth another frame. */
const SURE = 0.85;
const SUSPECT = 0.65;
/** On a known path: like enough, or less like and no louder than the echo has been. */
const LIKELY = 0.72;
const FAINTLY = 0.4;
const MAX_EXCESS = 1.4;
/** However like: so much louder than the echo has been is somebody else. */
const MAX_LOUDER = 2;
/**
 * A sound that repeats itself is like another one of its pitch at every period: when the second best delay, this far off,
 * is nearly as good as the best, the frame tells nothing of a path.
 */
const APART = 5;
const AMBIGUOUS = 0.98;
/** Frames in a row that may be waited for on suspicion alone, and quiet ones after which they may be again. */
const PATIENCE = 2;
const REST = 10;
/** An echo is at least 5 dB below what was sent, and no more than 40 dB. */
const MAX_GAIN = 0.56;
const MIN_GAIN = 0.01;
/** Frames at one delay after which the path is known; it is forgotten as slowly as it was learnt. */
const KNOWN = 3;
const MAX_TRUST = 12;
const LEARNING = 0.15;
/** Verdicts that are kept: longer than the jitter buffer's window. */
const SLOTS = 64;
/** Quieter than this is no voice of the agent, at 16 bits. */
const SOUND = 60;
/** Frames of what is kept, and how many of them a window of any delay may touch. */
const KEPT_FRAMES = KEPT / FRAME_SAMPLES;
const TOUCHED_FRAMES = 3;

export class EchoGuard {
  readonly #sent = new Int16Array(KEPT);
  readonly #sentCoarse = new Float32Array(KEPT_COARSE);
  readonly #heard = new Int16Array(WINDOW);
  readonly #heardCoarse = new Float32Array(WINDOW_COARSE);
  /** Energy of each frame sent, oldest overwritten. */
  readonly #sentEnergy = new Float64Array(Math.ceil(KEPT_FRAMES));
  #sentFrames = 0;
  /** Call time, in samples, behind the last sample sent and of the last frame of the agent's voice. */
  #sentTo = 0;
  #voiceTo = -KEPT;
  #heardTo = -1;
  #lag = -1;
  #trust = 0;
  #bestLag = 0;
  #likeness = 0;
  /** Of the latest search: by delay, how like the two are there, and whether that tells one delay from the others. */
  readonly #scores = new Float32Array(MAX_LAG / COARSE_STEP + 1);
  #isDistinct = false;
  /** Of what was heard to what was sent at `bestLag`, and what it is on this path as a rule. */
  #gain = 0;
  #usualGain = 0;
  /** Verdicts by frame of call time. */
  readonly #own = new Uint8Array(SLOTS);
  #patience = PATIENCE;
  #quiet = 0;

  /** The delay of the path in samples; -1 while it is not known. */
  get lag(): number {
    return this.#trust >= KNOWN ? this.#lag : -1;
  }

  /** A frame that leaves; `position`: call time of its first sample, in samples. */
  sent(frame: Int16Array, position: number): void {
    if (position !== this.#sentTo) this.#pass(position);
    const at = position & (KEPT - 1);
    let energy = 0;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const sample = frame[i] as number;
      this.#sent[(at + i) & (KEPT - 1)] = sample;
      energy += sample * sample;
    }
    this.#sentTo = position + FRAME_SAMPLES;
    this.#sentEnergy[this.#sentFrames++ % this.#sentEnergy.length] = energy;
    if (energy > SOUND * SOUND * FRAME_SAMPLES) this.#voiceTo = this.#sentTo;
    decimate(frame, this.#sentCoarse, (position / COARSE_STEP) | 0, KEPT_COARSE - 1);
  }

  /**
   * Every frame of the caller in order; `position` as above. True when it is the agent's own voice. Only a frame that is
   * `loud` is judged.
   */
  isEcho(frame: Int16Array, position: number, loud: boolean): boolean {
    const isEcho = this.#judge(frame, position, loud);
    const slot = Math.round(position / FRAME_SAMPLES) & (SLOTS - 1);
    this.#own[slot] = isEcho && this.#trust >= KNOWN ? 1 : 0;
    return isEcho;
  }

  /** Whether the frame at `position` was judged to be the agent's, on a path that is known. */
  isOwn(position: number): boolean {
    return this.#own[Math.round(position / FRAME_SAMPLES) & (SLOTS - 1)] === 1;
  }

  #judge(frame: Int16Array, position: number, loud: boolean): boolean {
    if (position - this.#voiceTo > MAX_LAG + WINDOW) return false;
    this.#hear(frame, position);
    if (!loud) {
      this.#quiet++;
      if (this.#quiet >= REST) this.#patience = PATIENCE;
      return false;
    }
    this.#quiet = 0;
    const energy = energyOf(this.#heard);
    const end = position + FRAME_SAMPLES;
    if (this.#trust >= KNOWN) {
      this.#refine(end, this.#lag, energy);
      if (this.#likeness >= LIKELY && this.#gain <= this.#usualGain * MAX_LOUDER)
        return this.#learn();
      if (this.#likeness >= FAINTLY && this.#gain <= this.#usualGain * MAX_EXCESS) return true;
    }
    if (energy > this.#loudestEcho()) return false;
    this.#refine(end, this.#search(end), energy);
    if (this.#likeness < SUSPECT) return false;
    // A hum over a vowel: nothing is learnt, and it is waited for no longer than a start of speech allows.
    if (!this.#isDistinct) return this.#isLikeBefore(end, energy) || this.#patience-- > 0;
    if (this.#likeness >= SURE) return this.#learn();
    // A voice is like itself at every period of its pitch: the path may have been taken for another.
    if (this.#trust >= KNOWN && this.#gain > this.#usualGain * MAX_EXCESS) return false;
    this.#learn();
    if (this.#trust >= KNOWN) return true;
    return this.#patience-- > 0;
  }

  /** More energy than any echo of what was sent can have: no delay need be looked for. */
  #loudestEcho(): number {
    const energies = this.#sentEnergy;
    let loudest = 0;
    for (let i = 0; i < energies.length; i++) {
      let sum = 0;
      for (let k = 0; k < TOUCHED_FRAMES; k++) sum += energies[(i + k) % energies.length] as number;
      if (sum > loudest) loudest = sum;
    }
    return loudest * MAX_GAIN * MAX_GAIN;
  }

  /** Of a frame that fits many delays: whether it fits the one that others have told of, and is no louder. */
  #isLikeBefore(end: number, energy: number): boolean {
    if (this.#trust < 1) return false;
    this.#refine(end, this.#lag, energy);
    return this.#likeness >= SURE && this.#gain <= this.#usualGain * MAX_EXCESS;
  }

  #learn(): boolean {
    const isSame = Math.abs(this.#bestLag - this.#lag) <= STEADY;
    if (isSame) this.#trust = Math.min(MAX_TRUST, this.#trust + 1);
    else this.#trust = this.#trust > 1 ? this.#trust - 1 : 1;
    if (!isSame && this.#trust > 1) return true;
    if (!isSame) this.#usualGain = this.#gain;
    this.#usualGain += (this.#gain - this.#usualGain) * LEARNING;
    this.#lag = this.#bestLag;
    return true;
  }

  /** Silence where nothing was sent. */
  #pass(position: number): void {
    const from = Math.max(this.#sentTo, position - KEPT);
    for (let at = from; at < position; at++) this.#sent[at & (KEPT - 1)] = 0;
    for (let at = (from / COARSE_STEP) | 0; at < position / COARSE_STEP; at++)
      this.#sentCoarse[at & (KEPT_COARSE - 1)] = 0;
  }

  #hear(frame: Int16Array, position: number): void {
    if (position !== this.#heardTo) {
      this.#heard.fill(0);
      this.#heardCoarse.fill(0);
    }
    this.#heardTo = position + FRAME_SAMPLES;
    this.#heard.copyWithin(0, FRAME_SAMPLES);
    this.#heard.set(frame, FRAME_SAMPLES);
    this.#heardCoarse.copyWithin(0, FRAME_COARSE);
    decimate(frame, this.#heardCoarse, FRAME_COARSE, -1);
  }

  /** The delay, in samples, at which what was heard is most like what was sent, by the lower part of the spectrum. */
  #search(end: number): number {
    const heard = this.#heardCoarse;
    const sent = this.#sentCoarse;
    const mask = KEPT_COARSE - 1;
    const last = (Math.min(end, this.#sentTo) / COARSE_STEP) | 0;
    const first = Math.max((end / COARSE_STEP) | 0, last) - last;
    let energy = 0;
    for (let i = 0; i < WINDOW_COARSE; i++) {
      const sample = sent[(last - WINDOW_COARSE + i) & mask] as number;
      energy += sample * sample;
    }
    let bestLag = 0;
    let best = 0;
    for (let lag = first; lag <= MAX_LAG / COARSE_STEP; lag++) {
      const from = last - WINDOW_COARSE - (lag - first);
      let dot = 0;
      for (let i = 0; i < WINDOW_COARSE; i++)
        dot += (heard[i] as number) * (sent[(from + i) & mask] as number);
      const score = dot <= 0 || energy < 1 ? 0 : (dot * dot) / energy;
      this.#scores[lag] = score;
      if (score > best) {
        best = score;
        bestLag = lag;
      }
      const joins = sent[(from - 1) & mask] as number;
      const leaves = sent[(from + WINDOW_COARSE - 1) & mask] as number;
      energy = Math.max(0, energy + joins * joins - leaves * leaves);
    }
    this.#isDistinct = this.#isBest(bestLag, first);
    return bestLag * COARSE_STEP;
  }

  /** Whether no other delay, from `first` on, is nearly as good. */
  #isBest(bestLag: number, first: number): boolean {
    const scores = this.#scores;
    const limit = (scores[bestLag] as number) * AMBIGUOUS * AMBIGUOUS;
    for (let lag = first; lag < scores.length; lag++)
      if (Math.abs(lag - bestLag) >= APART && (scores[lag] as number) > limit) return false;
    return true;
  }

  /** Around `lag`, by the whole spectrum: sets the best delay and how like the two are there. */
  #refine(end: number, lag: number, energy: number): void {
    this.#likeness = 0;
    const from = Math.max(0, lag - NEAR, end - this.#sentTo);
    for (let at = from; at <= lag + NEAR; at++) {
      const begin = end - at - WINDOW;
      let dot = 0;
      let sentEnergy = 0;
      for (let i = 0; i < WINDOW; i++) {
        const sample = this.#sent[(begin + i) & (KEPT - 1)] as number;
        dot += sample * (this.#heard[i] as number);
        sentEnergy += sample * sample;
      }
      const gain = Math.sqrt(energy / Math.max(1, sentEnergy));
      if (gain > MAX_GAIN || gain < MIN_GAIN) continue;
      const likeness = Math.abs(dot) / Math.sqrt(Math.max(1, energy * sentEnergy));
      if (likeness <= this.#likeness) continue;
      this.#likeness = likeness;
      this.#gain = gain;
      this.#bestLag = at;
    }
  }
}

/** Every fourth sample, as the mean of four. `mask` -1: the target is no ring. */
function decimate(frame: Int16Array, into: Float32Array, at: number, mask: number): void {
  for (let i = 0; i < FRAME_COARSE; i++) {
    const k = i * COARSE_STEP;
    into[(at + i) & mask] =
      ((frame[k] as number) +
        (frame[k + 1] as number) +
        (frame[k + 2] as number) +
        (frame[k + 3] as number)) /
      COARSE_STEP;
  }
}

function energyOf(pcm: Int16Array): number {
  let energy = 0;
  for (let i = 0; i < pcm.length; i++) energy += (pcm[i] as number) * (pcm[i] as number);
  return energy;
}
