/** Outgoing RTP of one call: one packet object, reused; sequence and time stamps run on through pauses and re-INVITEs. */
import { randomBytes } from 'node:crypto';
import { RtpPacket } from 'rtp.js/packets';
import { encodeG711, G711, type G711Tables } from './g711.ts';
import { FRAME_SAMPLES, type NegotiatedAudio } from './types.ts';

const HEADER_BYTES = 12;

export class RtpSender {
  readonly ssrc: number;
  readonly #packet = new RtpPacket();
  readonly #bytes = new Uint8Array(HEADER_BYTES + FRAME_SAMPLES);
  readonly #payload = this.#bytes.subarray(HEADER_BYTES);
  #tables: G711Tables = G711.PCMU;
  #sequence: number;
  #timestamp: number;
  #packets = 0;

  constructor() {
    const random = randomBytes(10);
    this.ssrc = random.readUInt32BE(0);
    this.#sequence = random.readUInt16BE(4);
    this.#timestamp = random.readUInt32BE(6);
    this.#packet.setSsrc(this.ssrc);
    this.#packet.setPayload(new DataView(this.#payload.buffer, HEADER_BYTES, FRAME_SAMPLES));
    this.#packet.serialize(this.#bytes.buffer, 0);
  }

  get packetsSent(): number {
    return this.#packets;
  }

  /** RTP time of the next frame. */
  get timestamp(): number {
    return this.#timestamp;
  }

  negotiate(audio: NegotiatedAudio): void {
    this.#tables = G711[audio.codec];
    this.#packet.setPayloadType(audio.payloadType);
  }

  /** The packet for this frame, in a buffer that is valid until the next call. */
  next(frame: Int16Array, isTalkspurtStart: boolean): Uint8Array {
    encodeG711(this.#tables, frame, this.#payload);
    this.#packet.setMarker(isTalkspurtStart);
    this.#packet.setSequenceNumber(this.#sequence);
    this.#packet.setTimestamp(this.#timestamp);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#packets++;
    this.pass(1);
    return this.#bytes;
  }

  /** Lets the time of `frames` frames pass without packets. */
  pass(frames: number): void {
    this.#timestamp = (this.#timestamp + frames * FRAME_SAMPLES) >>> 0;
  }
}
