/**
 * The "network" of a call without SIP: to the chain it is a peer that sends L16 in RTP every 20 ms and takes what the
 * chain sends; behind it are two rings that the main thread fills and empties. Driven by the pacer of the worker.
 */
import { LossyRing } from '../lossy-ring.ts';
import type { PacedStream } from '../pacer.ts';
import type { DatagramListener, RtpTransport } from '../rtp/rtp-socket.ts';
import { PAYLOAD_CODECS } from '../codec/codecs.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ, type NegotiatedAudio } from '../types.ts';
import { WebUplink } from './web-uplink.ts';

/** Audio that may wait in either direction. */
export const WEB_RING_SAMPLES = 2 * SAMPLE_RATE_HZ;

/** The rings of a web call, shared by both threads. */
export type WebBuffers = {
  readonly uplink: SharedArrayBuffer;
  readonly downlink: SharedArrayBuffer;
};

const PAYLOAD_TYPE = 96;
const PEER = { address: 'web', port: 1 } as const;
const HEADER_BYTES = 12;
const SSRC = 1;

/** What a web call has negotiated: with nobody, hence a constant. */
export const WEB_AUDIO: NegotiatedAudio = {
  codec: 'L16',
  payloadType: PAYLOAD_TYPE,
  receivePayloadType: PAYLOAD_TYPE,
  dtmfPayloadType: null,
  remoteAddress: PEER.address,
  remotePort: PEER.port,
  send: true,
  receive: true,
};

export type WebTransportOptions = {
  readonly buffers: WebBuffers;
  /** Ticks the transport from the first `aimAt` (the start of the call) to `close`. */
  readonly pacer: { add(stream: PacedStream): void; remove(stream: PacedStream): void };
};

const L16 = PAYLOAD_CODECS.L16;

export class WebTransport implements RtpTransport, PacedStream {
  readonly sendErrors = 0;
  readonly #uplink: WebUplink;
  readonly #downlink: LossyRing;
  readonly #pacer: WebTransportOptions['pacer'];
  readonly #packet = new Uint8Array(HEADER_BYTES + FRAME_SAMPLES * L16.bytesPerSample);
  readonly #header = new DataView(this.#packet.buffer);
  readonly #payload = this.#packet.subarray(HEADER_BYTES);
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  readonly #silence = new Int16Array(FRAME_SAMPLES);
  /** The payload of what the chain sends. */
  #sent: DataView = new DataView(new ArrayBuffer(0));
  #listener: DatagramListener | null = null;
  #sequence = 0;
  #timestamp = 0;
  #state: 'new' | 'paced' | 'closed' = 'new';

  constructor({ buffers, pacer }: WebTransportOptions) {
    this.#uplink = new WebUplink(LossyRing.attach(buffers.uplink, WEB_RING_SAMPLES));
    this.#downlink = LossyRing.attach(buffers.downlink, WEB_RING_SAMPLES);
    this.#pacer = pacer;
    this.#header.setUint8(0, 0x80);
    this.#header.setUint8(1, PAYLOAD_TYPE);
    this.#header.setUint32(8, SSRC);
  }

  onDatagram(listener: DatagramListener): void {
    this.#listener = listener;
  }

  aimAt(): void {
    if (this.#state !== 'new') return;
    this.#state = 'paced';
    this.#pacer.add(this);
  }

  connect(): void {} // nobody else could send

  disconnect(): void {}

  /** The caller's next frame, or no packet while a hole is to be concealed. */
  tick(dueMs: number): void {
    const hasAudio = this.#uplink.take(this.#frame);
    const timestamp = this.#timestamp;
    this.#pass(1);
    if (!hasAudio) return;
    L16.encode(this.#frame, this.#payload);
    this.#header.setUint16(2, this.#sequence);
    this.#header.setUint32(4, timestamp);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#listener?.(this.#packet, PEER.address, PEER.port, dueMs);
  }

  skip(frames: number): void {
    this.#pass(frames);
  }

  /** Whatever is not audio (telephone events) is silence to a web client. */
  send(bytes: Uint8Array): void {
    if (this.#state === 'closed') return;
    const isAudio = ((bytes[1] as number) & 0x7f) === PAYLOAD_TYPE;
    if (!isAudio) {
      this.#downlink.write(this.#silence);
      return;
    }
    // The sender has one buffer for all its packets.
    if (bytes.buffer !== this.#sent.buffer) {
      this.#sent = new DataView(bytes.buffer, bytes.byteOffset + HEADER_BYTES);
    }
    L16.decode(this.#sent, this.#frame, FRAME_SAMPLES);
    this.#downlink.write(this.#frame);
  }

  sendRtcp(): void {}

  onRtcp(): void {} // nobody sends any

  routeRtcp(): void {}

  close(): void {
    if (this.#state === 'paced') this.#pacer.remove(this);
    this.#state = 'closed';
  }

  #pass(frames: number): void {
    this.#timestamp = (this.#timestamp + frames * FRAME_SAMPLES) >>> 0;
  }
}
