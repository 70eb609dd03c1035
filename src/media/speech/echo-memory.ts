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
const SLOTS = 64;
/** Samples and frames as they were: mostly nobody has to compare them. */
const KEPT_RAW = KEPT * BAND_STEP;
const RAW_FRAMES = Math.floor(KEPT_RAW / FRAME_SAMPLES);
const HEARD_SLOTS = 8;
/** The frames of `heard`, and one before them for the filter to begin with. */
const MAX_UNREAD = HEARD / BAND_FRAME + 1;
const raw = new Int16Array(FRAME_SAMPLES);
const band = new Float32Array(BAND_FRAME);
/** Quieter than this is no voice of the agent, at 16 bits. */
const SOUND = 60;
/** What may come back has been sent within so much time, at 8 kHz. */
const REACH = SEARCH_LAGS * BAND_STEP + 2 * FRAME_SAMPLES;
/** Frames whose energy is in two frames heard so much later, and of those before them, whose sound goes on. */
const WEIGHTS = [1, 1, 1, 0.5, 0.25] as const;

export class EchoMemory {
  /** Twice behind itself, so that each stretch of it is in one piece. */
  readonly sent = new Float32Array(2 * KEPT);
  /** The latest at the end. */
  readonly heard = new Float32Array(HEARD);
  readonly #sentBand = new EchoBand();
  readonly #heardBand = new EchoBand();
  readonly #sentRaw = new Int16Array(KEPT_RAW);
  /** Call time, in samples at 8 kHz, up to which what was sent is in `sent`. */
  #bandTo = 0;
  readonly #heardRaw = new Int16Array(HEARD_SLOTS * FRAME_SAMPLES);
  #heardSlot = 0;
  /** The latest frames, so many, that are not in `heard` yet. */
  #unread = 0;
  /** Energy at 8 kHz by frame of call time, of what was sent; and of the two frames heard last. */
  readonly #energies = new Float64Array(SLOTS);
  #energy = 0;
  #energyBefore = 0;
  /** Call time, in samples at 8 kHz, behind the last one sent, sent of the agent's voice, and heard. */
  #sentTo = 0;
  #voiceTo = -REACH;
  #heardTo = -1;

  /** A frame that leaves; `position`: call time of its first sample, at 8 kHz. */
  send(frame: Int16Array, position: number): void {
    if (position !== this.#sentTo) this.#pass(position);
    const energy = energyOf(frame);
    const sent = this.#sentRaw;
    for (let i = 0; i < FRAME_SAMPLES; i++)
      sent[(position + i) & (KEPT_RAW - 1)] = frame[i] as number;
    this.#sentTo = position + FRAME_SAMPLES;
    this.#energies[slotOf(position)] = energy;
    if (energy > SOUND * SOUND * FRAME_SAMPLES) this.#voiceTo = this.#sentTo;
  }

  /** The next frame of the caller. */
  hear(frame: Int16Array, position: number): void {
    if (position !== this.#heardTo) {
      this.heard.fill(0);
      this.#heardBand.restart();
      this.#unread = 0;
      this.#energy = 0;
    }
    this.#heardTo = position + FRAME_SAMPLES;
    this.#energyBefore = this.#energy;
    this.#energy = energyOf(frame);
    this.#heardSlot = (this.#heardSlot + 1) & (HEARD_SLOTS - 1);
    this.#heardRaw.set(frame, this.#heardSlot * FRAME_SAMPLES);
    if (this.#unread < MAX_UNREAD) this.#unread++;
  }

  /** Brings `sent` and `heard` up to date: before they are looked at. */
  read(): void {
    this.#readSent();
    for (; this.#unread > 0; this.#unread--) {
      const from = ((this.#heardSlot - this.#unread + 1) & (HEARD_SLOTS - 1)) * FRAME_SAMPLES;
      for (let i = 0; i < FRAME_SAMPLES; i++) raw[i] = this.#heardRaw[from + i] as number;
      this.heard.copyWithin(0, BAND_FRAME);
      this.#heardBand.take(raw, this.heard, HEARD - BAND_FRAME);
    }
  }

  #readSent(): void {
    const oldest = this.#sentTo - RAW_FRAMES * FRAME_SAMPLES;
    if (this.#bandTo < oldest) {
      this.#bandTo = oldest;
      this.#sentBand.restart();
    }
    const sent = this.#sentRaw;
    for (; this.#bandTo < this.#sentTo; this.#bandTo += FRAME_SAMPLES) {
      for (let i = 0; i < FRAME_SAMPLES; i++)
        raw[i] = sent[(this.#bandTo + i) & (KEPT_RAW - 1)] as number;
      this.#sentBand.take(raw, band, 0);
      const at = Math.floor(this.#bandTo / BAND_STEP);
      for (let i = 0; i < BAND_FRAME; i++) this.#keep(at + i, band[i] as number);
    }
  }

  /** Whether anything of the agent may still come back at `position`. */
  mayReturn(position: number): boolean {
    return position - this.#voiceTo <= REACH;
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
    const end = this.#heardTo - lag * BAND_STEP;
    let sent = 1;
    for (let i = 0; i < WEIGHTS.length; i++)
      sent += (WEIGHTS[i] as number) * (this.#energies[slotOf(end - i * FRAME_SAMPLES)] as number);
    return (this.#energy + this.#energyBefore) / sent;
  }

  /** The same for the loudest that was sent and may still come back: no echo has less of a gain. */
  get leastGain(): number {
    const newest = Math.floor(this.#heardTo / FRAME_SAMPLES);
    let loudest = 1;
    for (let i = 0; i <= REACH / FRAME_SAMPLES; i++) {
      let sum = 0;
      for (let k = 0; k < 3; k++) sum += this.#energies[(newest - i - k) & (SLOTS - 1)] as number;
      if (sum > loudest) loudest = sum;
    }
    return (this.#energy + this.#energyBefore) / loudest;
  }

  /** Silence where nothing was sent. */
  #pass(position: number): void {
    this.#readSent();
    this.#bandTo = position;
    const from = Math.max(this.#sentTo, position - KEPT * BAND_STEP);
    for (let at = Math.floor(from / BAND_STEP); at < position / BAND_STEP; at++) this.#keep(at, 0);
    for (let at = from; at < position; at += FRAME_SAMPLES) this.#energies[slotOf(at)] = 0;
    this.#sentBand.restart();
  }

  #keep(at: number, value: number): void {
    this.sent[at & MASK] = value;
    this.sent[KEPT + (at & MASK)] = value;
  }
}

function slotOf(position: number): number {
  return Math.floor(position / FRAME_SAMPLES) & (SLOTS - 1);
}

function energyOf(pcm: Int16Array): number {
  let energy = 0;
  for (let i = 0; i < pcm.length; i++) energy += (pcm[i] as number) * (pcm[i] as number);
  return energy;
}
