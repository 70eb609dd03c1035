/**
 * Audio packets to samples. A codec without state is decoded as it comes, late packets too. A codec with state is decoded
 * in the order of its packets: one behind a gap waits for what is missing as long as that could still be heard, then the
 * gap is given to the decoder to recover or bridge, and what comes even later is left out, for decoded out of its turn it
 * would spoil the sound of its neighbours.
 */
import type { PayloadDecoder } from '../codec/codecs.ts';
import { StreamTime } from './stream-time.ts';
import { SAMPLE_RATE_HZ } from '../types.ts';

/** Buffers are valid until the call returns. Times are those of StreamTime. */
export type AudioSink = {
  /** `follows`: no number is missing before it. `isQuiet`: the other side took it for silence. */
  decoded(audio: DecodedAudio): void;
  /**
   * Lost samples before the packet behind them: `sequence` is the number of the lost packet whose sound that one brought
   * along; -1: they are made up.
   */
  recovered(
    pcm: Int16Array,
    length: number,
    time: number,
    arrivalMs: number,
    sequence: number,
  ): void;
  /** How long what is missing is waited for, ms. */
  patienceMs(): number;
};

export type DecodedAudio = {
  readonly pcm: Int16Array;
  /** Of its packet. */
  sequence: number;
  length: number;
  time: number;
  arrivalMs: number;
  isNew: boolean;
  follows: boolean;
  isQuiet: boolean;
};

/** A packet of the stream. `decoder` null: no audio, it only has its place in the order. */
export type StreamPacket = {
  readonly sequence: number;
  readonly timestamp: number;
  readonly arrivalMs: number;
  readonly payload: DataView;
  readonly decoder: PayloadDecoder | null;
};

/** 200 ms: no phone puts more into one packet. */
const MAX_SAMPLES = 1600;
const SAMPLES_PER_MS = SAMPLE_RATE_HZ / 1000;
const MAX_WAITING = 8;
/** Longest gap that a decoder bridges. */
const MAX_BRIDGE = 960;
/** The first of another codec is joined to what was before over 5 ms. */
const JOIN = 40;

/** Of the packet at hand. One for all calls: it is used up before the next one comes, and stays in the cache. */
const decoded = new Int16Array(MAX_SAMPLES);
const audio: DecodedAudio = {
  pcm: decoded,
  sequence: 0,
  length: 0,
  time: 0,
  arrivalMs: 0,
  isNew: true,
  follows: false,
  isQuiet: false,
};

export class OrderedAudio {
  readonly time = new StreamTime();
  readonly #sink: AudioSink;
  #next = -1;
  #decoder: PayloadDecoder | null = null;
  #lastSample = 0;
  #isWaiting = false;
  /** In order of their numbers. */
  readonly #waiting: StreamPacket[] = [];
  #tooLate = 0;
  #recovered = 0;

  constructor(sink: AudioSink) {
    this.#sink = sink;
  }

  /** Packets that came after their turn, of a codec with state. */
  get tooLate(): number {
    return this.#tooLate;
  }

  /** Samples that were lost and recovered from redundancy. */
  get recovered(): number {
    return this.#recovered;
  }

  /** Packets wait for those before them. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** The numbers of the stream begin anew. True when its time goes on. */
  restart(timestamp: number, clockHz: number, arrivalMs: number): boolean {
    this.#release(true, arrivalMs);
    this.#next = -1;
    return this.time.restart(timestamp, clockHz, arrivalMs);
  }

  /** The next packet as it came, no duplicate; its payload is kept only as a copy. False: malformed. */
  packet(packet: StreamPacket): boolean {
    const { decoder, sequence, arrivalMs } = packet;
    if (decoder !== null) {
      const samples = decoder.samplesIn(packet.payload);
      if (samples === 0 || samples > MAX_SAMPLES) return false;
    }
    if (this.#next < 0) this.#next = sequence;
    const gap = ((sequence - this.#next) << 16) >> 16;
    if (gap < 0) {
      this.#late(packet);
      return true;
    }
    // What is missing may be of a codec with state, and would come too late for it.
    const isOrdered = decoder?.hasState === true || this.#decoder?.hasState === true;
    if (gap > 0 && (isOrdered || this.#isWaiting)) {
      this.#wait(packet);
      this.#release(this.#waiting.length > MAX_WAITING, arrivalMs);
      return true;
    }
    this.#take(packet, gap);
    if (this.#isWaiting) this.#release(false, arrivalMs);
    return true;
  }

  /** Call it every frame while packets wait. */
  tick(nowMs: number): void {
    if (this.#isWaiting) this.#release(false, nowMs);
  }

  #wait(packet: StreamPacket): void {
    const { payload } = packet;
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
    const kept = { ...packet, payload: new DataView(bytes.slice().buffer) };
    let at = this.#waiting.length;
    while (at > 0 && this.#isBefore(packet, this.#waiting[at - 1] as StreamPacket)) at--;
    this.#waiting.splice(at, 0, kept);
    this.#isWaiting = true;
  }

  #isBefore(a: StreamPacket, b: StreamPacket): boolean {
    return ((a.sequence - b.sequence) << 16) >> 16 < 0;
  }

  /** Takes what waits as far as its turn has come; with `isForced` all of it. */
  #release(isForced: boolean, nowMs: number): void {
    for (;;) {
      const first = this.#waiting[0];
      this.#isWaiting = first !== undefined;
      if (first === undefined) return;
      const gap = (first.sequence - this.#next) & 0xffff;
      if (gap > 0 && !isForced && nowMs < first.arrivalMs + this.#patienceFor(first)) return;
      this.#waiting.shift();
      this.#take(first, gap);
    }
  }

  /** What is missing before the packet was due so much earlier. */
  #patienceFor({ decoder, timestamp }: StreamPacket): number {
    if (decoder === null) return this.#sink.patienceMs();
    const missing = this.time.at(timestamp, decoder.clockHz) - this.time.end;
    return this.#sink.patienceMs() - missing / SAMPLES_PER_MS;
  }

  /** A packet in its turn, `gap` numbers after the one before. */
  #take(packet: StreamPacket, gap: number): void {
    this.#next = (packet.sequence + 1) & 0xffff;
    const { decoder, payload, timestamp, arrivalMs } = packet;
    if (decoder === null) return;
    const isTurn = this.#decoder !== null && this.#decoder !== decoder;
    const { clockHz } = decoder;
    if (this.#decoder === null) this.time.restart(timestamp, clockHz, arrivalMs);
    else if (this.#decoder.clockHz !== clockHz) this.time.turn(timestamp, clockHz, arrivalMs, gap);
    const time = this.time.place(timestamp, clockHz, gap);
    if (gap > 0 && !isTurn) this.#bridge(packet, decoder, time);
    this.#decoder = decoder;
    audio.length = decoder.decode(payload, decoded);
    if (audio.length === 0) return;
    if (isTurn && time === this.time.end) this.#join(audio.length);
    audio.time = time;
    audio.sequence = packet.sequence;
    audio.isNew = true;
    audio.follows = gap === 0;
    audio.isQuiet = decoder.isInactive(payload);
    audio.arrivalMs = arrivalMs;
    this.time.note(timestamp, clockHz, gap, audio);
    this.#lastSample = decoded[audio.length - 1] as number;
    this.#sink.decoded(audio);
  }

  /** A packet whose turn is over. */
  #late({ sequence, decoder, payload, timestamp, arrivalMs }: StreamPacket): void {
    if (decoder === null) return;
    if (decoder.hasState || decoder.clockHz !== this.#decoder?.clockHz) {
      this.#tooLate++;
      return;
    }
    audio.length = decoder.decode(payload, decoded);
    audio.time = this.time.at(timestamp, decoder.clockHz);
    audio.sequence = sequence;
    audio.isNew = false;
    audio.follows = false;
    audio.isQuiet = false;
    audio.arrivalMs = arrivalMs;
    this.#sink.decoded(audio);
  }

  /** Has the decoder give the sound of a gap, and go through it, so that it meets the packet behind in a good state. */
  #bridge(packet: StreamPacket, decoder: PayloadDecoder, time: number): void {
    const { payload, arrivalMs } = packet;
    const missing = time - this.time.end;
    const isReal = decoder.hasRedundancy(payload);
    if (missing <= 0 || (missing > MAX_BRIDGE && !isReal)) return;
    const wanted = missing > MAX_BRIDGE ? decoder.samplesIn(payload) : missing;
    const made = decoder.recover(payload, decoded, wanted);
    if (made === 0) return;
    if (isReal) this.#recovered += Math.min(made, decoder.samplesIn(payload));
    this.#lastSample = decoded[made - 1] as number;
    const sequence = isReal ? (packet.sequence - 1) & 0xffff : -1;
    this.#sink.recovered(decoded, made, time - made, arrivalMs, sequence);
  }

  /** Lets the step from one codec's last sample to another one's first die away. */
  #join(length: number): void {
    const step = this.#lastSample - (decoded[0] as number);
    const count = Math.min(JOIN, length);
    for (let i = 0; i < count; i++) {
      const value = (decoded[i] as number) + step * (1 - i / count);
      decoded[i] = Math.max(-32_767, Math.min(32_767, Math.round(value)));
    }
  }
}
