/**
 * Incoming RTP of one call: parse, judge the source, keep the books, and hand audio and telephone events on. Whatever
 * arrives, nothing is thrown: bad packets are counted and dropped.
 */
import { RtpPacket } from 'rtp.js/packets';
import { decodeG711, G711, type G711Tables } from './g711.ts';
import { RtpSequence, type SequenceVerdict } from './rtp-sequence.ts';
import type { RtpTransport } from './rtp-socket.ts';
import { SourceLatch } from './source-latch.ts';
import type { NegotiatedAudio } from './types.ts';

/** Where received things go. Buffers are valid until the call returns; `arrivalMs` is the clock's time. */
export type ReceiverSink = {
  audio(
    pcm: Int16Array,
    length: number,
    timestamp: number,
    arrivalMs: number,
    isNew: boolean,
  ): void;
  telephoneEvent(payload: DataView, timestamp: number, arrivalMs: number): boolean;
  /** The stream began anew: time stamps have no relation to those of before. */
  restarted(): void;
  latched(address: string, port: number, nowMs: number): void;
  /** Before a held packet is replayed: time has come this far. */
  advance(nowMs: number): void;
};

type Held = { readonly packet: RtpPacket; readonly arrivalMs: number };

/** RFC 3551 comfort noise: taken note of, and the line stays silent. */
const COMFORT_NOISE = 13;
/** 200 ms: no phone puts more G.711 into one packet. */
const MAX_PAYLOAD_BYTES = 1600;
/** The learning window of a phone that sends 10 ms packets. */
const MAX_HELD = 64;

export class RtpReceiver {
  readonly sequence = new RtpSequence();
  readonly #transport: RtpTransport;
  readonly #sink: ReceiverSink;
  readonly #latch = new SourceLatch();
  readonly #pcm = new Int16Array(MAX_PAYLOAD_BYTES);
  #held: Held[] = [];
  #audio: NegotiatedAudio | null = null;
  #tables: G711Tables = G711.PCMU;
  #received = 0;
  #foreign = 0;
  #malformed = 0;
  #lastMs = -1;

  constructor(transport: RtpTransport, sink: ReceiverSink) {
    this.#transport = transport;
    this.#sink = sink;
  }

  get packetsReceived(): number {
    return this.#received;
  }

  get foreignDropped(): number {
    return this.#foreign;
  }

  get malformedDropped(): number {
    return this.#malformed;
  }

  /** When the last packet of the call came, on the clock; -1 before the first. */
  get lastPacketMs(): number {
    return this.#lastMs;
  }

  /** The source is not decided: the caller's time must wait, its packets may come in later. */
  get isLearning(): boolean {
    return this.#latch.state === 'learning';
  }

  /** Sets what was negotiated; a new remote address opens the latch again. */
  negotiate(audio: NegotiatedAudio): void {
    this.#audio = audio;
    this.#tables = G711[audio.codec];
    if (!this.#latch.signal(audio.remoteAddress, audio.remotePort)) return;
    this.#dropHeld();
    this.#transport.disconnect();
    const isReachable = audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.#transport.aimAt(audio.remoteAddress, isReachable ? audio.remotePort : 0);
  }

  /** Takes a datagram as it came from the socket. */
  datagram(bytes: Uint8Array, address: string, port: number, nowMs: number): void {
    const audio = this.#audio;
    if (audio === null || !audio.receive) return;
    const packet = parse(bytes);
    if (packet === null || !this.#isOurs(packet.getPayloadType())) {
      this.#malformed++;
      return;
    }
    switch (this.#latch.judge(address, port, nowMs)) {
      case 'accept':
        this.#accept(packet, nowMs);
        break;
      case 'latch':
        this.#dropHeld();
        this.#settle(nowMs);
        this.#accept(packet, nowMs);
        break;
      case 'hold':
        this.#hold(packet, address, port, nowMs);
        break;
      case 'foreign':
        this.#foreign++;
        break;
    }
  }

  /** Ends the learning window when its time has come. Call it every frame. */
  tick(nowMs: number): void {
    if (!this.#latch.settle(nowMs)) return;
    const held = this.#held;
    this.#held = [];
    this.#settle(nowMs);
    for (const { packet, arrivalMs } of held) {
      this.#sink.advance(arrivalMs);
      this.#accept(packet, arrivalMs);
    }
  }

  #settle(nowMs: number): void {
    this.#transport.connect(this.#latch.address, this.#latch.port);
    this.#sink.latched(this.#latch.address, this.#latch.port, nowMs);
  }

  #heldFrom = '';

  #hold(packet: RtpPacket, address: string, port: number, arrivalMs: number): void {
    const from = `${address} ${port}`;
    if (from !== this.#heldFrom) this.#dropHeld();
    this.#heldFrom = from;
    if (this.#held.length >= MAX_HELD) {
      this.#foreign++;
      return;
    }
    this.#held.push({ packet, arrivalMs });
  }

  #dropHeld(): void {
    this.#foreign += this.#held.length;
    this.#held.length = 0;
  }

  #isOurs(payloadType: number): boolean {
    return (
      payloadType === this.#audio?.receivePayloadType ||
      payloadType === this.#audio?.dtmfPayloadType ||
      payloadType === COMFORT_NOISE
    );
  }

  #accept(packet: RtpPacket, arrivalMs: number): void {
    const timestamp = packet.getTimestamp();
    const units = Math.round(arrivalMs * 8);
    const verdict = this.sequence.note(
      packet.getSsrc(),
      packet.getSequenceNumber(),
      timestamp,
      units,
    );
    this.#received++;
    this.#lastMs = arrivalMs;
    if (verdict === 'duplicate' || verdict === 'stray') return;
    if (verdict === 'restart') this.#sink.restarted();
    this.#deliver(packet, timestamp, arrivalMs, verdict);
  }

  #deliver(
    packet: RtpPacket,
    timestamp: number,
    arrivalMs: number,
    verdict: SequenceVerdict,
  ): void {
    const payload = packet.getPayload();
    const payloadType = packet.getPayloadType();
    if (payloadType === this.#audio?.dtmfPayloadType) {
      if (!this.#sink.telephoneEvent(payload, timestamp, arrivalMs)) this.#malformed++;
      return;
    }
    if (payloadType !== this.#audio?.receivePayloadType) return;
    const length = payload.byteLength;
    if (length === 0 || length > MAX_PAYLOAD_BYTES) {
      this.#malformed++;
      return;
    }
    decodeG711(this.#tables, payload, this.#pcm, length);
    this.#sink.audio(this.#pcm, length, timestamp, arrivalMs, verdict !== 'reordered');
  }
}

function parse(bytes: Uint8Array): RtpPacket | null {
  try {
    return new RtpPacket(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    // rtp.js throws TypeError or RangeError on whatever is not RTP.
    if (error instanceof Error) return null;
    throw error;
  }
}
