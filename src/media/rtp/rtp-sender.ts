/**
 * Outgoing RTP of one call: frames of 20 ms in, packets of the agreed length out. Sequence numbers run on through
 * everything, time stamps as long as their clock stays the same.
 */
import { randomBytes } from 'node:crypto';
import { RtpPacket } from 'rtp.js/packets';
import type { PayloadEncoder } from '../codec/codecs.ts';
import { HEADER_BYTES, packetBuffer } from './packet-buffer.ts';
import { Packetizer } from './packetizer.ts';
import type { RtpTransport } from './rtp-socket.ts';
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, type NegotiatedAudio } from '../types.ts';

const EVENT_BYTES = 4;
/** Places in the header (RFC 3550 5.1). */
const TYPE_AT = 1;
const SEQUENCE_AT = 2;
const TIMESTAMP_AT = 4;
const SSRC_AT = 8;
/** Version 2, and neither padding nor extension nor sources. */
const FIRST_BYTE = 0x80;
const MARKER_BIT = 0x80;
const END_BIT = 0x80;
/** Power of an event, -dBm0 (RFC 4733 2.3.4). */
const EVENT_VOLUME = 10;
const MAX_EVENT_DURATION = 0xffff;
const SAMPLES_PER_MS = FRAME_SAMPLES / FRAME_MS;
/** Lengths of packets: whole steps, up to the longest. */
const STEP_MS = 10;
const LONGEST_MS = 60;
/** A change of codec is rounded off over 5 ms on either side. */
const RAMP = 40;

/** One packet of a telephone event. `duration` is since its beginning, in samples. */
export type EventPacket = {
  readonly code: number;
  readonly duration: number;
  readonly isFirst: boolean;
  readonly isEnd: boolean;
};

type Terms = { readonly audio: NegotiatedAudio; readonly encoder: PayloadEncoder };

/** First in it what every packet touches. */
export class RtpSender {
  readonly #transport: Pick<RtpTransport, 'send'>;
  /** Of the terms: they are read with every packet. */
  #encoder: PayloadEncoder | null = null;
  #payloadType = 0;
  /** A frame that comes now is a packet of its own, without anything to be done before or after. */
  #isStraight = false;
  #isMarked = false;
  /** As signed numbers of 32 bits, and so is the time: V8 keeps larger ones in a box for each, and off the cache. */
  #ssrc: number;
  #sequence: number;
  /** Of the first sample that waits. */
  #timestamp: number;
  /** RTP time units to a sample. */
  #clock = 1;
  #packets = 0;
  #octets = 0;
  #packetsBefore = 0;
  readonly #leave: () => void;
  readonly #eventPacket = new RtpPacket();
  readonly #eventBytes = new Uint8Array(HEADER_BYTES + EVENT_BYTES);
  readonly #event = new DataView(this.#eventBytes.buffer, HEADER_BYTES);
  readonly #packetizer = new Packetizer();
  #eventTimestamp = 0;
  /** Duration of the segments of the event that are over (RFC 4733 2.5.1.3). */
  #eventBase = 0;
  #eventClock = 1;
  #terms: Terms | null = null;
  /** Terms that hold after one more frame of the codec of before. */
  #next: Terms | null = null;
  #fadesIn = false;

  /** `transport` gets every packet, in a buffer that is valid until `send` returns; `leave` is called before the SSRC changes. */
  constructor(transport: Pick<RtpTransport, 'send'>, leave: () => void) {
    this.#transport = transport;
    this.#leave = leave;
    const random = randomBytes(10);
    this.#ssrc = random.readInt32BE(0);
    // Below 2^15: a receiver of SRTP that misses the first packets must not miss a wrap (RFC 3711 3.3.1).
    this.#sequence = random.readUInt16BE(4) & 0x7fff;
    this.#timestamp = random.readInt32BE(6);
    this.#eventPacket.setSsrc(this.ssrc);
    this.#eventPacket.setPayload(this.#event);
    this.#eventPacket.serialize(this.#eventBytes.buffer, 0);
  }

  /** Of the stream as it is now: it changes when the RTP clock does. */
  get ssrc(): number {
    return this.#ssrc >>> 0;
  }

  /** Of the whole call. */
  get packetsSent(): number {
    return this.#packetsBefore + this.#packets;
  }

  /** Packets, and bytes of payload, of the stream as it is now (RFC 3550 6.4.1). */
  get streamPackets(): number {
    return this.#packets;
  }

  get octetsSent(): number {
    return this.#octets;
  }

  /** RTP time of the next frame. */
  get timestamp(): number {
    return (this.#timestamp + this.#packetizer.pending * this.#clock) >>> 0;
  }

  /** Packets leave between two frames: `half` is to be called 10 ms after each `frame`. */
  get needsHalf(): boolean {
    return this.#packetizer.needsHalf;
  }

  /**
   * Sets what was negotiated. A change of codec on the same path takes effect after one more frame of the codec of before,
   * which fades out (RFC 3264 8.3.2: the other side must still understand it), so that the change makes no click.
   */
  negotiate(audio: NegotiatedAudio, encoder: PayloadEncoder): void {
    if (this.#next !== null) this.#switch(this.#next);
    const now = this.#terms;
    const next = { audio, encoder };
    const isChange = now !== null && now.encoder !== encoder && this.packetsSent > 0;
    this.#fadesIn ||= isChange;
    this.#isStraight = false;
    if (isChange && isSamePath(now.audio, audio)) this.#next = next;
    else this.#switch(next);
  }

  /** 20 ms of sound. `isHurried`: what waits leaves now. Returns whether anything was due to leave. */
  frame(pcm: Int16Array, isTalkspurtStart: boolean, isHurried: boolean): boolean {
    if (isTalkspurtStart) this.#isMarked = true;
    if (!this.#isStraight) {
      const isPlain = !this.#fadesIn && this.#next === null && !isHurried;
      if (!isPlain || !this.#packetizer.isStraight()) return this.#pack(pcm, isHurried);
      this.#isStraight = true;
    }
    this.#sendSound(pcm, FRAME_SAMPLES);
    return true;
  }

  /** A frame that is not a packet as it is. */
  #pack(pcm: Int16Array, isHurried: boolean): boolean {
    const packetizer = this.#packetizer;
    const at = packetizer.pending;
    packetizer.add(pcm);
    if (this.#fadesIn && this.#next === null) {
      this.#fadesIn = false;
      fadeIn(packetizer.pcm, at);
    }
    const next = this.#next;
    if (next !== null) {
      fadeOut(packetizer.pcm, packetizer.pending, this.#terms?.encoder.delay ?? 0);
      this.#drain();
      this.#switch(next);
      return true;
    }
    if (isHurried) {
      this.#drain();
      return true;
    }
    return this.#sendDue(this.needsHalf ? 1 : 2);
  }

  /** 10 ms after a frame, where `needsHalf`. */
  half(): void {
    if (this.#next === null) this.#sendDue(1);
  }

  /**
   * In place of a frame: the packet of a telephone event (RFC 4733), with the time stamp of its beginning. One that lasts
   * longer than its 16 bits can say goes on in a segment with a time stamp of its own (2.5.1.3).
   */
  event(payloadType: number, { code, duration, isFirst, isEnd }: EventPacket): void {
    if (this.#next !== null) this.#switch(this.#next);
    if (this.#packetizer.pending > 0) this.#drain();
    if (isFirst) {
      this.#eventTimestamp = this.#timestamp >>> 0;
      this.#eventBase = 0;
    }
    const lasted = duration * this.#eventClock - this.#eventBase;
    const isOver = lasted > MAX_EVENT_DURATION;
    const packet = this.#eventPacket;
    packet.setPayloadType(payloadType);
    packet.setMarker(isFirst);
    packet.setTimestamp(this.#eventTimestamp);
    this.#event.setUint8(0, code);
    this.#event.setUint8(1, (isEnd && !isOver ? END_BIT : 0) | EVENT_VOLUME);
    this.#event.setUint16(2, isOver ? MAX_EVENT_DURATION : lasted);
    packet.setSequenceNumber(this.#sequence);
    this.#count(EVENT_BYTES);
    this.#transport.send(this.#eventBytes);
    this.#advance(FRAME_SAMPLES);
    if (!isOver) return;
    this.#eventBase += MAX_EVENT_DURATION;
    this.#eventTimestamp = (this.#eventTimestamp + MAX_EVENT_DURATION) >>> 0;
  }

  /** Lets the time of `frames` frames pass without packets. `isShut`: what waits may not leave either. */
  pass(frames: number, isShut: boolean): void {
    if (this.#next !== null) this.#switch(this.#next);
    if (isShut) this.#advance(this.#packetizer.pending);
    else this.#drain();
    this.#packetizer.clear();
    this.#advance(frames * FRAME_SAMPLES);
  }

  #switch({ audio, encoder }: Terms): void {
    this.#next = null;
    this.#terms = { audio, encoder };
    this.#isStraight = false;
    this.#encoder = encoder;
    this.#payloadType = audio.payloadType;
    const clock = encoder.clockHz / SAMPLE_RATE_HZ;
    if (clock !== this.#clock) this.#changeClock(clock);
    this.#eventClock = (audio.dtmfClockHz ?? SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ;
    const wished = Math.floor((audio.ptimeMs ?? FRAME_MS) / STEP_MS) * STEP_MS;
    const lengthMs = Math.max(STEP_MS, Math.min(LONGEST_MS, wished));
    // Opus has no packets of 30 and 50 ms: the next shorter ones.
    this.#packetizer.length = encoder.fit(lengthMs * SAMPLES_PER_MS);
  }

  /**
   * RFC 7160 4.1: with RTCP on, a stream of another clock is a stream with another SSRC. Its sequence numbers go on where
   * they were, for receivers that do not look at the SSRC; its time begins anew. The stream before says BYE.
   */
  #changeClock(clock: number): void {
    if (this.packetsSent > 0) this.#leave();
    this.#clock = clock;
    if (this.packetsSent === 0) return;
    const random = randomBytes(8);
    this.#ssrc = random.readInt32BE(0);
    this.#timestamp = random.readInt32BE(4);
    this.#packetsBefore += this.#packets;
    this.#packets = 0;
    this.#octets = 0;
    this.#eventPacket.setSsrc(this.ssrc);
  }

  #sendDue(steps: number): boolean {
    const due = this.#packetizer.due(steps);
    if (due === 0) return false;
    this.#sendPacket(due);
    return true;
  }

  #drain(): void {
    while (this.#packetizer.pending > 0) this.#sendPacket(this.#packetizer.pending);
    this.#packetizer.clear();
  }

  /** One packet of up to `samples` of what waits; none when the codec has nothing to say (DTX). */
  #sendPacket(samples: number): void {
    const encoder = this.#encoder as PayloadEncoder;
    const length = encoder.fit(Math.min(samples, LONGEST_MS * SAMPLES_PER_MS));
    this.#sendSound(this.#packetizer.pcm, length);
    this.#packetizer.shift(length);
  }

  #sendSound(pcm: Int16Array, length: number): void {
    const buffer = packetBuffer();
    const bytes = (this.#encoder as PayloadEncoder).encode(pcm, length, buffer.payload);
    if (bytes > 0) {
      this.#stamp(buffer.bytes);
      this.#count(bytes);
      this.#transport.send(buffer.packet(bytes));
    }
    // After packets left out, the next one begins a talkspurt (RFC 3551 4.1).
    this.#isMarked = bytes === 0;
    this.#advance(length);
  }

  #stamp(header: Uint8Array): void {
    const type = this.#payloadType;
    header[0] = FIRST_BYTE;
    header[TYPE_AT] = this.#isMarked ? type | MARKER_BIT : type;
    header[SEQUENCE_AT] = this.#sequence >> 8;
    header[SEQUENCE_AT + 1] = this.#sequence;
    putWord(header, TIMESTAMP_AT, this.#timestamp);
    putWord(header, SSRC_AT, this.#ssrc);
  }

  #count(octets: number): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#packets++;
    this.#octets += octets;
  }

  #advance(samples: number): void {
    this.#timestamp = (this.#timestamp + samples * this.#clock) | 0;
  }
}

/** Whether a packet of the old terms would still be understood where those of the new ones go. */
function isSamePath(before: NegotiatedAudio, after: NegotiatedAudio): boolean {
  return (
    before.remoteAddress === after.remoteAddress &&
    before.remotePort === after.remotePort &&
    before.payloadType !== after.payloadType
  );
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >> 24;
  bytes[at + 1] = word >> 16;
  bytes[at + 2] = word >> 8;
  bytes[at + 3] = word;
}

function fadeIn(pcm: Int16Array, at: number): void {
  for (let i = 0; i < RAMP; i++) pcm[at + i] = ((pcm[at + i] as number) * i) / RAMP;
}

/** The last `delay` samples would not be heard: the coder keeps them for its next packet. */
function fadeOut(pcm: Int16Array, end: number, delay: number): void {
  const last = end - delay;
  for (let i = 1; i <= RAMP; i++) pcm[last - i] = ((pcm[last - i] as number) * (i - 1)) / RAMP;
  pcm.fill(0, last, end);
}
