/** Outgoing RTP of one call: one packet object, reused; sequence and time stamps run on through pauses and re-INVITEs. */
import { randomBytes } from 'node:crypto';
import { RtpPacket } from 'rtp.js/packets';
import { PAYLOAD_CODECS, payloadCodec, type PayloadCodec } from './codecs.ts';
import { FRAME_SAMPLES, type NegotiatedAudio } from './types.ts';

const HEADER_BYTES = 12;
const EVENT_BYTES = 4;
const END_BIT = 0x80;
/** Power of an event, -dBm0 (RFC 4733 2.3.4). */
const EVENT_VOLUME = 10;

/** One packet of a telephone event. `duration` is in samples since its beginning. */
export type EventPacket = {
  readonly code: number;
  readonly duration: number;
  readonly isFirst: boolean;
  readonly isEnd: boolean;
};

export class RtpSender {
  readonly ssrc: number;
  readonly #packet = new RtpPacket();
  #bytes = new Uint8Array(HEADER_BYTES + FRAME_SAMPLES);
  #payload = this.#bytes.subarray(HEADER_BYTES);
  readonly #eventPacket = new RtpPacket();
  readonly #eventBytes = new Uint8Array(HEADER_BYTES + EVENT_BYTES);
  readonly #event = new DataView(this.#eventBytes.buffer, HEADER_BYTES);
  #eventTimestamp = 0;
  #codec: PayloadCodec = PAYLOAD_CODECS.PCMU;
  #sequence: number;
  #timestamp: number;
  #packets = 0;
  #octets = 0;

  constructor() {
    const random = randomBytes(10);
    this.ssrc = random.readUInt32BE(0);
    this.#sequence = random.readUInt16BE(4);
    this.#timestamp = random.readUInt32BE(6);
    this.#packet.setSsrc(this.ssrc);
    this.#fit(FRAME_SAMPLES);
    this.#eventPacket.setSsrc(this.ssrc);
    this.#eventPacket.setPayload(this.#event);
    this.#eventPacket.serialize(this.#eventBytes.buffer, 0);
  }

  #fit(payloadBytes: number): void {
    this.#bytes = new Uint8Array(HEADER_BYTES + payloadBytes);
    this.#payload = this.#bytes.subarray(HEADER_BYTES);
    this.#packet.setPayload(new DataView(this.#bytes.buffer, HEADER_BYTES, payloadBytes));
    this.#packet.serialize(this.#bytes.buffer, 0);
  }

  get packetsSent(): number {
    return this.#packets;
  }

  /** Bytes of payload sent (RFC 3550 6.4.1). */
  get octetsSent(): number {
    return this.#octets;
  }

  /** RTP time of the next frame. */
  get timestamp(): number {
    return this.#timestamp;
  }

  negotiate(audio: NegotiatedAudio): void {
    this.#codec = payloadCodec(audio.codec);
    const payloadBytes = FRAME_SAMPLES * this.#codec.bytesPerSample;
    if (payloadBytes !== this.#payload.length) this.#fit(payloadBytes);
    this.#packet.setPayloadType(audio.payloadType);
  }

  /** The packet for this frame, in a buffer that is valid until the next call. */
  next(frame: Int16Array, isTalkspurtStart: boolean): Uint8Array {
    this.#codec.encode(frame, this.#payload);
    this.#packet.setMarker(isTalkspurtStart);
    this.#packet.setTimestamp(this.#timestamp);
    this.#count(this.#packet, this.#payload.length);
    return this.#bytes;
  }

  /** In place of a frame: the packet of a telephone event (RFC 4733), which keeps the time of its beginning. */
  event(payloadType: number, { code, duration, isFirst, isEnd }: EventPacket): Uint8Array {
    if (isFirst) this.#eventTimestamp = this.#timestamp;
    const packet = this.#eventPacket;
    packet.setPayloadType(payloadType);
    packet.setMarker(isFirst);
    packet.setTimestamp(this.#eventTimestamp);
    this.#event.setUint8(0, code);
    this.#event.setUint8(1, (isEnd ? END_BIT : 0) | EVENT_VOLUME);
    this.#event.setUint16(2, duration);
    this.#count(packet, EVENT_BYTES);
    return this.#eventBytes;
  }

  #count(packet: RtpPacket, octets: number): void {
    packet.setSequenceNumber(this.#sequence);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#packets++;
    this.#octets += octets;
    this.pass(1);
  }

  /** Lets the time of `frames` frames pass without packets. */
  pass(frames: number): void {
    this.#timestamp = (this.#timestamp + frames * FRAME_SAMPLES) >>> 0;
  }
}
