/**
 * RTP time of a caller's stream, whatever its clock, as one time in samples of 8 kHz that runs on through changes of codec
 * and of SSRC. The difference of two of its values is what counts. Stamps are believed as far as they can be true: sound
 * of packets in sequence never overlaps, and a sender whose stamps run at a rate of their own is found out.
 */
import { SAMPLE_RATE_HZ } from '../types.ts';

const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;
/** A stream that goes on within this of its due time goes on without a seam. */
const SEAMLESS = 60 * SAMPLES_PER_MS;
/** A step so small between packets in sequence is the sender's rounding, no pause: 2.5 ms. */
const ROUNDING = 20;
/** Packets in sequence with the same wrong step, until it is taken for the sender's rate. */
const SURE = 8;

type PlacedSound = {
  readonly time: number;
  readonly length: number;
  readonly arrivalMs: number;
};

/** Small integers, as far as may be: a number with a fraction, or above 2^31, is an object of its own to be fetched. */
export class StreamTime {
  #clockHz = 0;
  #timestamp = 0;
  #time = 0;
  /** Behind the latest packet, and when that was due by its arrival, in samples modulo 2^32. */
  #end = 0;
  #endDue = 0;
  #hasEnd = false;
  /** Samples of the latest packet. */
  #samples = 0;
  /** Samples to a unit of time stamps, as the sender counts. */
  #scale = 1;
  /** Packets in sequence of so many samples and so many units each, and when the first of them came, in samples. */
  #run = 0;
  #runSamples = 0;
  #runStep = 0;
  #runSince = 0;

  /** Behind the sound that came last. */
  get end(): number {
    return this.#end;
  }

  /** The time of a packet by its stamp alone. */
  at(timestamp: number, clockHz: number): number {
    if (this.#clockHz !== clockHz) return this.#end;
    const step = (timestamp - this.#timestamp) | 0;
    return Math.round(this.#time + step * this.#scale);
  }

  /** The time of a packet in its turn, `gap` numbers after the one before. */
  place(timestamp: number, clockHz: number, gap: number): number {
    const time = this.at(timestamp, clockHz);
    if (gap === 0) return time - this.#end <= ROUNDING ? this.#end : time;
    return time < this.#end ? this.#end + gap * this.#samples : time;
  }

  /** A packet in its turn, with its sound at the time that `place` gave. */
  note(timestamp: number, clockHz: number, gap: number, sound: PlacedSound): void {
    const { time, length: samples, arrivalMs } = sound;
    const arrival = samplesOf(arrivalMs);
    const isNext = gap === 0 && clockHz === this.#clockHz && this.#samples > 0;
    if (isNext) this.#learn((timestamp - this.#timestamp) | 0, arrival);
    else this.#run = 0;
    this.#setClock(clockHz);
    this.#timestamp = timestamp | 0;
    this.#time = time;
    this.#samples = samples;
    this.#end = time + samples;
    this.#endDue = (arrival + samples) | 0;
    this.#hasEnd = true;
  }

  /**
   * The numbering of packets and time begins anew with this packet: it is taken to follow the one before when it comes when
   * that would have been due (true), and else to have no relation to it (false).
   */
  restart(timestamp: number, clockHz: number, arrivalMs: number): boolean {
    const late = (samplesOf(arrivalMs) - this.#endDue) | 0;
    const isSeamless = this.#hasEnd && Math.abs(late) <= SEAMLESS;
    this.#begin(timestamp, clockHz, isSeamless ? this.#end : timestamp | 0);
    return isSeamless;
  }

  /** The clock changes with this packet, in numbers that go on: its place is known by them, and a pause by its arrival. */
  turn(timestamp: number, clockHz: number, arrivalMs: number, gap: number): void {
    const missing = gap * this.#samples;
    const late = ((samplesOf(arrivalMs) - this.#endDue) | 0) - missing;
    const pause = this.#hasEnd && late > SEAMLESS ? late : 0;
    this.#begin(timestamp, clockHz, this.#end + missing + pause);
  }

  #begin(timestamp: number, clockHz: number, time: number): void {
    this.#setClock(clockHz);
    this.#timestamp = timestamp | 0;
    this.#time = time;
    this.#end = time;
    this.#samples = 0;
    this.#run = 0;
  }

  #setClock(clockHz: number): void {
    if (clockHz !== this.#clockHz) this.#scale = SAMPLE_RATE_HZ / clockHz;
    this.#clockHz = clockHz;
  }

  /**
   * The packet before was `#samples` long by its sound and `step` units by its stamp. Where the stamps say more than the
   * sound, it may have paused after each packet: only arrivals tell.
   */
  #learn(step: number, arrival: number): void {
    const samples = this.#samples;
    if (step !== this.#runStep || samples !== this.#runSamples || this.#run === 0) {
      this.#run = 0;
      this.#runStep = step;
      this.#runSamples = samples;
      this.#runSince = (this.#endDue - samples) | 0;
    }
    this.#run++;
    if (this.#run < SURE || step <= 0 || samples / step === this.#scale) return;
    const sound = this.#run * samples;
    const stamps = (this.#run * step * SAMPLE_RATE_HZ) / this.#clockHz;
    const took = (arrival - this.#runSince) | 0;
    this.#run = 0;
    if (stamps > sound && took > (sound + stamps) / 2) return;
    this.#scale = samples / step;
  }
}

/** Of a time on the clock, modulo 2^32: differences count. */
function samplesOf(clockMs: number): number {
  return Math.round(clockMs * SAMPLES_PER_MS) | 0;
}
