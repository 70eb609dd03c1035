/**
 * Tells the agent's own voice, coming back from the far end's line or loudspeaker, from the caller's. What was sent is
 * kept; a frame that sounds like speech is looked for in it at every delay. Where it is found again and again, what the
 * line makes of the voice is learnt, and from then on a frame is the agent's when little is left of it without that.
 * Allocates nothing; costs nothing while the agent is silent and next to nothing on a line without echo.
 */
import { BAND_FRAME, BAND_STEP } from './echo-band.ts';
import { EchoMemory, HEARD } from './echo-memory.ts';
import { EchoPath } from './echo-path.ts';
import { searchEcho } from './echo-search.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** Two frames are looked for: one alone is too short to be told from a like vowel. */
const SOUGHT = 2 * BAND_FRAME;
/**
 * What is learnt of a path lasts 32 ms, and begins 4 ms before the delay that was found: the strongest part need not be the
 * first. Four frames alone tell of no more than 12 ms.
 */
const TAPS = 64;
const BEFORE = 8;
const FEW_TAPS = 24;
const FEW_BEFORE = 4;
/** Delays that are one path's, and where in the filter it is to begin, and how far off it may. */
const NEAR = 6;
const ONSET = 5;
const OFF_CENTRE = 4;
/** Share of a sound that some path explains: sure of it, or worth another frame. */
const SURE = 0.88;
const SUSPECT = 0.62;
/** What follows from itself more than this is one tone or three, alike at every period: it tells nothing of a path. */
const TONE = 0.05;
/** Share of an echo that is left without what was learnt: of a new path, and as a rule before it is known. */
const NEW_REST = 0.5;
const FIRST_REST = 0.2;
/** So much more than as a rule may be left, but no less than this of the one and no more than that. */
const REST_MARGIN = 4;
const LEAST_REST = 0.25;
const MOST_REST = 0.6;
/** A room goes on sounding: so much of an echo's energy is there a frame later. */
const FADING = 0.6;
/** However alike: so much more energy than the echo ever had is somebody else, unless nearly nothing is left of it. */
const MAX_LOUDER = 4;
const MAX_LOUDER_IF_CLEAR = 16;
const CLEAR_REST = 0.1;
const MAX_LOUDER_IF_MOVED = 2;
/** An echo is at least 5 dB below what was sent. */
const MAX_GAIN = 0.32;
/** Frames in a row that may be waited for on suspicion alone, and quiet ones after which they may be again. */
const PATIENCE = 2;
const REST = 10;
/** Frames in a row that were found nowhere, after which only every so many is looked for. */
const UNLIKE = 8;
const SELDOM = 4;
/** Frames foretold by which a path is known, and frames it must have been learnt of before; it is forgotten as slowly. */
const KNOWN = 3;
const ENOUGH = 4;
const MAX_TRUST = 12;
/** Frames until which it is worked out anew with each, and after which it is looked whether its delay has drifted. */
const YOUNG = 16;
const OLD = 256;
/** What was learnt a frame ago counts so much; of averages, what the latest frame counts. */
const KEEP = 0.98;
const LEARNING = 0.15;
const GAIN_FADING = 0.01;
/** Verdicts that are kept: longer than the jitter buffer's window. */
const SLOTS = 64;
const NEVER = -1e9;

/** For the frame being judged; nothing of it stays. */
const few = new EchoPath(FEW_TAPS);

export class EchoGuard {
  readonly #memory = new EchoMemory();
  #patience = PATIENCE;
  #quiet = 0;
  #unlike = 0;
  #trust = 0;
  /** Call time of the last frame that was the agent's on a known path; far back: none. */
  #newestOwn = NEVER;
  /** Call times of such frames. */
  readonly #own = new Int32Array(SLOTS).fill(NEVER);
  readonly #path = new EchoPath(TAPS);
  /** Delay, at 2 kHz, of the first tap; -1: none. */
  #base = -1;
  #learnt = 0;
  /** What is left of the frame being judged; of an echo as a rule. */
  #rest = 0;
  #usualRest = FIRST_REST;
  /** Energy of that frame to that of what was sent; the most that an echo had of late. */
  #gain = 0;
  #mostGain = 0;
  /** Energy of the echo at 2 kHz at its loudest, and frames since, in which it has faded. */
  #loudest = 0;
  #faded = 0;
  /** Another path that may have taken the place of the one that is known. */
  #otherLag = -1;

  /** The delay of the path in samples, where it is strongest; -1 while it is not known. */
  get lag(): number {
    return this.#isKnown ? (this.#base + this.#path.peak) * BAND_STEP : -1;
  }

  get #isKnown(): boolean {
    return this.#trust >= KNOWN;
  }

  /**
   * A frame that leaves; `position`: call time of its first sample, in samples. Returns up to where something of the agent
   * may come back: frames of the caller behind that need not be asked about, nor silent ones of ours be told.
   */
  sent(frame: Int16Array, position: number): number {
    this.#memory.send(frame, position);
    return this.#memory.returnsTo;
  }

  /**
   * Every frame of the caller in order; `position` as above, `energy`: the sum of its squares. True when it is the agent's
   * own voice. Only a frame that is `loud` is judged.
   */
  isEcho(frame: Int16Array, position: number, loud: boolean, energy?: number): boolean {
    const isEcho = this.#judge(frame, position, loud, energy);
    if (isEcho && this.#isKnown) {
      this.#own[slotOf(position)] = position;
      this.#newestOwn = position;
    }
    return isEcho;
  }

  /** Whether the frame at `position` was judged to be the agent's, on a path that is known. */
  isOwn(position: number): boolean {
    if (position - this.#newestOwn > SLOTS * FRAME_SAMPLES) return false;
    const judged = this.#own[slotOf(position)] as number;
    return Math.abs(position - judged) <= FRAME_SAMPLES;
  }

  #judge(frame: Int16Array, position: number, loud: boolean, energy?: number): boolean {
    if (position > this.#memory.returnsTo) return false;
    this.#memory.hear(frame, position, energy);
    this.#faded++;
    if (!loud) {
      if (++this.#quiet >= REST) {
        this.#patience = PATIENCE;
        this.#unlike = 0;
      }
      return false;
    }
    this.#quiet = 0;
    if (this.#memory.gainBound > MAX_GAIN || this.#memory.leastGain > MAX_GAIN) return false;
    this.#memory.read();
    return this.#isForetold() || this.#isFound();
  }

  /** Whether what was learnt of the path so far explains the frame. */
  #isForetold(): boolean {
    this.#rest = 0;
    const memory = this.#memory;
    if (this.#learnt < ENOUGH || this.#base < memory.firstLag) return false;
    const isKnown = this.#isKnown;
    if (!isKnown && this.#path.richness < TONE) return false;
    const count = isKnown ? SOUGHT : BAND_FRAME;
    const energy = energyOf(memory.heard, HEARD - count);
    this.#rest = this.#left(this.#path, this.#base, count) / energy;
    this.#gain = memory.gainAt(this.#base + BEFORE);
    if (!(isKnown ? this.#isUsual(energy) : this.#rest <= NEW_REST)) return false;
    this.#unlike = 0;
    // The end of what sounds on in a room is an echo, but tells nothing of its beginning.
    if (this.#rest > 1) return true;
    this.#trust = Math.min(MAX_TRUST, this.#trust + 1);
    this.#usualRest += (this.#rest - this.#usualRest) * LEARNING;
    this.#learn();
    return true;
  }

  /** Whether no more is left of the frame, and it is no louder, than on this path as a rule. */
  #isUsual(energy: number): boolean {
    const usual = Math.min(MOST_REST, this.#usualRest * REST_MARGIN);
    const isExplained = this.#rest <= Math.max(LEAST_REST, usual);
    const fading = this.#loudest * FADING ** this.#faded;
    if (!isExplained && this.#rest * energy > usual * fading) return false;
    const louder = this.#rest < CLEAR_REST ? MAX_LOUDER_IF_CLEAR : MAX_LOUDER;
    if (this.#gain > this.#mostGain * louder) return false;
    this.#loudest = Math.max(fading, energy);
    this.#faded = 0;
    return true;
  }

  /** Whether the frame is found in what was sent, wherever that may be. */
  #isFound(): boolean {
    // Whoever has been speaking for a while is looked for now and then only: it costs more than all else.
    if (this.#unlike++ >= UNLIKE && this.#unlike % SELDOM !== 0) return false;
    const { heard, sent, firstLag } = this.#memory;
    const at = this.#memory.place(0, SOUGHT);
    const lag = searchEcho(heard, HEARD - SOUGHT, SOUGHT, sent, at, firstLag);
    if (lag < 0) return false;
    this.#gain = this.#memory.gainAt(lag);
    const base = Math.max(firstLag, lag - FEW_BEFORE);
    this.#learnAll(few, base);
    const share = 1 - this.#left(few, base, HEARD) / energyOf(heard, 0);
    if (share < SUSPECT) return false;
    // A hum over a vowel: nothing is learnt, and it is waited for no longer than a start of speech allows.
    if (few.richness < TONE || this.#isTone()) return !this.#isKnown && this.#patience-- > 0;
    if (this.#isKnown) return this.#hasMoved(lag, share);
    this.#unlike = 0;
    this.#follow(lag);
    return share >= SURE || this.#patience-- > 0;
  }

  /** Whether what was heard could not be told from others of its pitch. */
  #isTone(): boolean {
    const { heard } = this.#memory;
    few.clear();
    few.add(heard, FEW_TAPS, HEARD - FEW_TAPS, heard, FEW_TAPS, 0);
    few.solve();
    return few.richness < TONE;
  }

  /** Of a sound that was found, but is not what the known path makes of it: whether that path has become another one. */
  #hasMoved(lag: number, share: number): boolean {
    if (this.#rest > 1) this.#trust--;
    if (share < SURE || this.#gain > this.#mostGain * MAX_LOUDER_IF_MOVED) return false;
    const isNear = this.#isNear(lag);
    if (isNear) this.#learn();
    else if (Math.abs(lag - this.#otherLag) <= NEAR) this.#follow(lag);
    this.#otherLag = isNear ? -1 : lag;
    return isNear || this.#patience-- > 0;
  }

  #isNear(lag: number): boolean {
    return this.#base >= 0 && lag >= this.#base && lag <= this.#base + BEFORE + NEAR;
  }

  /** Learns of the path at this delay, from the beginning if it is another one. */
  #follow(lag: number): void {
    if (this.#isNear(lag)) return this.#learn();
    this.#base = Math.max(this.#memory.firstLag, lag - BEFORE);
    this.#learnAll(this.#path, this.#base);
    this.#learnt = ENOUGH;
    this.#trust = 0;
    this.#usualRest = FIRST_REST;
    this.#mostGain = this.#gain;
  }

  #learn(): void {
    const { heard, sent } = this.#memory;
    const at = this.#memory.place(this.#base, BAND_FRAME);
    this.#path.add(heard, HEARD - BAND_FRAME, BAND_FRAME, sent, at, KEEP);
    this.#learnt++;
    if (this.#learnt < YOUNG || this.#learnt % SELDOM === 0) this.#path.solve();
    if (this.#learnt === YOUNG || this.#learnt % OLD === 0) this.#centre();
    this.#mostGain = Math.max(this.#gain, this.#mostGain * (1 - GAIN_FADING));
  }

  /** What comes early and what comes late must both have room in the filter. */
  #centre(): void {
    const base = Math.max(this.#memory.firstLag, this.#base + this.#path.onset - ONSET);
    if (Math.abs(base - this.#base) <= OFF_CENTRE) return;
    this.#base = base;
    this.#learnAll(this.#path, base);
    this.#learnt = YOUNG + 1;
  }

  /** Of nothing but what is kept of the caller. */
  #learnAll(path: EchoPath, base: number): void {
    const { heard, sent } = this.#memory;
    path.clear();
    path.add(heard, 0, HEARD, sent, this.#memory.place(base, HEARD), 0);
    path.solve();
  }

  /** Energy that `path`, from the delay `base` on, leaves of the last `count` samples heard. */
  #left(path: EchoPath, base: number, count: number): number {
    const { heard, sent } = this.#memory;
    return path.residual(heard, HEARD - count, count, sent, this.#memory.place(base, count));
  }
}

/** Of a frame sent: nothing is in it at all. */
export function isSilent(frame: Int16Array): boolean {
  for (let i = 0; i < FRAME_SAMPLES; i += 4) {
    const some =
      (frame[i] as number) |
      (frame[i + 1] as number) |
      (frame[i + 2] as number) |
      (frame[i + 3] as number);
    if (some !== 0) return false;
  }
  return true;
}

function slotOf(position: number): number {
  return Math.round(position / FRAME_SAMPLES) & (SLOTS - 1);
}

/** From `from` on; never 0. */
function energyOf(heard: Float32Array, from: number): number {
  let energy = 1;
  for (let i = from; i < heard.length; i++) energy += (heard[i] as number) ** 2;
  return energy;
}
