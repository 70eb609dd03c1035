/**
 * What was sent and heard of late, as the echo guard compares it: by call time, in the lower part of the spectrum. Filtered
 * only when it is to be compared (`read`), for that costs more than all the rest.
 */
import { BAND_FRAME, BAND_STEP, EchoBand } from './echo-band.ts';
import { SEARCH_LAGS } from './echo-search.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** Samples heard that are kept: four frames. */
export const HEARD = 4 * BAND_FRAME;

/** Samples sent that are kept: longer than any path with a packet and the network's share. */
const KEPT = 2048;
const MASK = KEPT - 1;
/**
 * Frames sent are kept as they were, for mostly nobody has to compare them; each with its power (32 bits) behind it, where
 * it costs no place of its own.
 */
const SLOTS = 51;
const SLOT = FRAME_SAMPLES + 2;
const HEARD_SLOTS = 8;
/** The frames of `heard`, and one before them for the filter to begin with. */
const MAX_UNREAD = HEARD / BAND_FRAME + 1;
const raw = new Int16Array(FRAME_SAMPLES);
const band = new Float32Array(BAND_FRAME);
/** Quieter than this, as mean square of 16 bits, is no voice of the agent. */
const SOUND = 60 ** 2;
/** Quieter than this is heard as silence: at the bottom of G.711, and far below what is judged. */
const STILL = 10 ** 2;
/** What may come back has been sent within so much time, at 8 kHz. */
const REACH = SEARCH_LAGS * BAND_STEP + 2 * FRAME_SAMPLES;
/** Frames whose energy is in two frames heard so much later, and of those before them, whose sound goes on. */
const WEIGHTS = [1, 1, 1, 0.5, 0.25] as const;
/** Frames of which the loudest are known together: longer than what may come back lies behind. */
const BLOCK = 64;

/** Powers are mean squares, and times samples: both whole numbers, which lie in the object. */
export class EchoMemory {
  /** Call time, in samples at 8 kHz, behind the last frame sent, sent of the agent's voice, and heard. */
  #sentTo = 0;
  #voiceTo = -REACH;
  /** Of the two frames sent last; a quarter of the most that three in a row had, in this block and the one before. */
  #sentPower = 0;
  #sentPowerBefore = 0;
  #most = 0;
  #mostBefore = 0;
  #blockFrames = 0;
  /** By frame of call time. */
  readonly #sentRaw = new Int16Array(SLOTS * SLOT);
  #heardTo = -1;
  /** Of the two frames heard last. */
  #power = 0;
  #powerBefore = 0;
  #heardSlot = 0;
  /** The latest frames, so many, that are not in `heard` yet. */
  #unread = 0;
  /** Slots of frames that were silence, and were not written, by bit. */
  #still = 0;
  readonly #heardRaw = new Int16Array(HEARD_SLOTS * FRAME_SAMPLES);
  /** Twice behind itself, so that each stretch of it is in one piece. */
  readonly sent = new Float32Array(2 * KEPT);
  /** The latest at the end. */
  readonly heard = new Float32Array(HEARD);
  readonly #sentBand = new EchoBand();
  readonly #heardBand = new EchoBand();
  /** Call time up to which what was sent is in `sent`, whether anything is, and where it began after silence. */
  #bandTo = 0;
  #hasBand = false;
  #begin = 0;

  /** A frame that leaves; `position`: call time of its first sample, at 8 kHz. */
  send(frame: Int16Array, position: number): void {
    if (position !== this.#sentTo) this.#pass(position);
    const power = powerOf(frame);
    const at = slotOf(position) * SLOT;
    const sent = this.#sentRaw;
    sent.set(frame, at);
    sent[at + FRAME_SAMPLES] = power;
    sent[at + FRAME_SAMPLES + 1] = power >> 16;
    this.#sentTo = position + FRAME_SAMPLES;
    if (power > SOUND) this.#voiceTo = this.#sentTo;
    this.#noteLoudest(power);
  }

  /** The next frame of the caller; `energy`: the sum of its squares. */
  hear(frame: Int16Array, position: number, energy = energyOf(frame)): void {
    if (position !== this.#heardTo) {
      this.heard.fill(0);
      this.#heardBand.restart();
      this.#unread = 0;
      this.#power = 0;
    }
    this.#heardTo = position + FRAME_SAMPLES;
    this.#powerBefore = this.#power;
    this.#power = (energy / FRAME_SAMPLES) | 0;
    const slot = (this.#heardSlot + 1) & (HEARD_SLOTS - 1);
    this.#heardSlot = slot;
    if (this.#power < STILL) this.#still |= 1 << slot;
    else {
      this.#still &= ~(1 << slot);
      this.#heardRaw.set(frame, slot * FRAME_SAMPLES);
    }
    if (this.#unread < MAX_UNREAD) this.#unread++;
  }

  /** Brings `sent` and `heard` up to date: before they are looked at. */
  read(): void {
    this.#readSent();
    for (; this.#unread > 0; this.#unread--) {
      const slot = (this.#heardSlot - this.#unread + 1) & (HEARD_SLOTS - 1);
      const isStill = (this.#still & (1 << slot)) !== 0;
      for (let i = 0; i < FRAME_SAMPLES; i++)
        raw[i] = isStill ? 0 : (this.#heardRaw[slot * FRAME_SAMPLES + i] as number);
      this.heard.copyWithin(0, BAND_FRAME);
      this.#heardBand.take(raw, this.heard, HEARD - BAND_FRAME);
    }
  }

  #readSent(): void {
    const oldest = this.#sentTo - SLOTS * FRAME_SAMPLES;
    if (this.#bandTo < oldest) {
      this.#bandTo = oldest;
      this.#sentBand.restart();
    }
    const sent = this.#sentRaw;
    this.#hasBand = true;
    for (; this.#bandTo < this.#sentTo; this.#bandTo += FRAME_SAMPLES) {
      const from = slotOf(this.#bandTo) * SLOT;
      for (let i = 0; i < FRAME_SAMPLES; i++) raw[i] = sent[from + i] as number;
      this.#sentBand.take(raw, band, 0);
      const at = Math.floor(this.#bandTo / BAND_STEP);
      for (let i = 0; i < BAND_FRAME; i++) this.#keep(at + i, band[i] as number);
    }
  }

  /** Call time, at 8 kHz, up to which something of the agent may still come back. */
  get returnsTo(): number {
    return this.#voiceTo + REACH;
  }

  /** The least delay, at 2 kHz, of which all has been sent. */
  get firstLag(): number {
    return Math.max(0, Math.ceil((this.#heardTo - this.#sentTo) / BAND_STEP));
  }

  /** Where in `sent` the last `count` samples heard begin if they come so much later (2 kHz). */
  place(lag: number, count: number): number {
    return KEPT + ((Math.floor(this.#heardTo / BAND_STEP) - lag) & MASK) - count;
  }

  /** Of the last two frames heard, energy to that of what was sent so much earlier, and a little before that. */
  gainAt(lag: number): number {
    const newest = Math.floor((this.#heardTo - lag * BAND_STEP) / FRAME_SAMPLES);
    let sent = 1;
    for (let i = 0; i < WEIGHTS.length; i++)
      sent += (WEIGHTS[i] as number) * this.#powerAt(newest - i);
    return (this.#power + this.#powerBefore) / sent;
  }

  /** The same for the loudest that was sent and may still come back: no echo has less of a gain. */
  get leastGain(): number {
    const newest = Math.floor(this.#heardTo / FRAME_SAMPLES);
    let loudest = 1;
    for (let i = 0; i <= REACH / FRAME_SAMPLES; i++) {
      let sum = 0;
      for (let k = 0; k < 3; k++) sum += this.#powerAt(newest - i - k);
      if (sum > loudest) loudest = sum;
    }
    return (this.#power + this.#powerBefore) / loudest;
  }

  /** No more than `leastGain`, and got for nothing. */
  get gainBound(): number {
    const loudest = 4 * (Math.max(this.#most, this.#mostBefore) + 1);
    return (this.#power + this.#powerBefore) / loudest;
  }

  /** Of a frame sent, by its number; 0 for one that is not known. */
  #powerAt(frame: number): number {
    const last = Math.floor(this.#sentTo / FRAME_SAMPLES) - 1;
    if (frame > last || frame <= last - SLOTS || frame * FRAME_SAMPLES < this.#begin) return 0;
    const at = slotOf(frame * FRAME_SAMPLES) * SLOT + FRAME_SAMPLES;
    const low = (this.#sentRaw[at] as number) & 0xffff;
    return low | ((this.#sentRaw[at + 1] as number) << 16);
  }

  #noteLoudest(power: number): void {
    // Rounded up: it is a bound.
    const sum = (power >> 2) + (this.#sentPower >> 2) + (this.#sentPowerBefore >> 2) + 3;
    this.#sentPowerBefore = this.#sentPower;
    this.#sentPower = power;
    if (++this.#blockFrames > BLOCK) {
      this.#mostBefore = this.#most;
      this.#most = 0;
      this.#blockFrames = 1;
    }
    if (sum > this.#most) this.#most = sum;
  }

  /** Silence where nothing was sent. */
  #pass(position: number): void {
    this.#sentPower = 0;
    if (position > this.returnsTo) {
      // Nothing of before comes back any more: the usual case, when the agent begins to speak.
      if (this.#hasBand) this.sent.fill(0);
      this.#hasBand = false;
      this.#begin = position - FRAME_SAMPLES;
      this.#bandTo = position;
      this.#sentBand.restart();
      return;
    }
    this.#readSent();
    this.#bandTo = position;
    const from = Math.max(this.#sentTo, position - KEPT * BAND_STEP);
    for (let at = Math.floor(from / BAND_STEP); at < position / BAND_STEP; at++) this.#keep(at, 0);
    for (let at = from; at < position; at += FRAME_SAMPLES) {
      const slot = slotOf(at) * SLOT;
      this.#sentRaw.fill(0, slot + FRAME_SAMPLES, slot + SLOT);
    }
    this.#sentBand.restart();
  }

  #keep(at: number, value: number): void {
    this.sent[at & MASK] = value;
    this.sent[KEPT + (at & MASK)] = value;
  }
}

/** The first frame of a call may be due a little before the call began. */
function slotOf(position: number): number {
  const slot = Math.floor(position / FRAME_SAMPLES) % SLOTS;
  return slot < 0 ? slot + SLOTS : slot;
}

function powerOf(frame: Int16Array): number {
  return (energyOf(frame) / FRAME_SAMPLES) | 0;
}

function energyOf(pcm: Int16Array): number {
  let even = 0;
  let odd = 0;
  // Two sums, for one would wait for itself; of two squares each, which are at most 2^31 together.
  for (let i = 0; i < FRAME_SAMPLES; i += 4) {
    const a = pcm[i] as number;
    const b = pcm[i + 1] as number;
    const c = pcm[i + 2] as number;
    const d = pcm[i + 3] as number;
    even += (Math.imul(a, a) + Math.imul(b, b)) >>> 0;
    odd += (Math.imul(c, c) + Math.imul(d, d)) >>> 0;
  }
  return even + odd;
}
