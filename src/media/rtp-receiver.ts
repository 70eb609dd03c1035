/**
 * Incoming RTP of one call: parse, judge the source, keep the books, and hand audio and telephone events on. Whatever
 * arrives, nothing is thrown: bad packets are counted and dropped.
 */
import { RtpPacket } from 'rtp.js/packets';
import { PAYLOAD_CODECS, payloadCodec, type PayloadCodec } from './codecs.ts';
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
/** 200 ms: no phone puts more into one packet. */
const MAX_PACKET_SAMPLES = 1600;
/** Per source: the learning window of a phone that sends 10 ms packets. */
const MAX_HELD = 64;
/** Undecided audio older than this is given up, so that the caller's time never stands still for long. */
const MAX_HOLD_MS = 1000;

export class RtpReceiver {
  readonly sequence = new RtpSequence();
  readonly #transport: RtpTransport;
  readonly #sink: ReceiverSink;
  readonly #latch = new SourceLatch();
  readonly #pcm = new Int16Array(MAX_PACKET_SAMPLES);
  /** Packets that wait for the decision, by source. */
  readonly #held = new Map<string, Held[]>();
  #audio: NegotiatedAudio | null = null;
  #codec: PayloadCodec = PAYLOAD_CODECS.PCMU;
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

  /** Arrival of the oldest packet held back: the caller's time must not pass it. Infinity when none is. */
  get heldSinceMs(): number {
    let since = Number.POSITIVE_INFINITY;
    for (const [first] of this.#held.values()) since = Math.min(since, first?.arrivalMs ?? since);
    return since;
  }

  /** Sets what was negotiated; a new remote address opens the latch again. */
  negotiate(audio: NegotiatedAudio): void {
    this.#audio = audio;
    this.#codec = payloadCodec(audio.codec);
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
    // Port 0 (RFC 768: no answer wanted) cannot be sent to, and a socket cannot be connected to it.
    if (packet === null || port === 0 || !this.#isOurs(packet.getPayloadType())) {
      this.#malformed++;
      return;
    }
    const [ssrc, sequence] = [packet.getSsrc(), packet.getSequenceNumber()];
    switch (this.#latch.judge({ address, port, ssrc, sequence }, nowMs)) {
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
    if (!this.#latch.settle(nowMs)) {
      this.#ageHeld(nowMs);
      return;
    }
    const from = sourceName(this.#latch.address, this.#latch.port);
    const held = this.#held.get(from) ?? [];
    this.#held.delete(from);
    this.#dropHeld();
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

  #hold(packet: RtpPacket, address: string, port: number, arrivalMs: number): void {
    const from = sourceName(address, port);
    const held = this.#held.get(from) ?? [];
    this.#held.set(from, held);
    held.push({ packet, arrivalMs });
    if (held.length <= MAX_HELD) return;
    held.shift();
    this.#foreign++;
  }

  #ageHeld(nowMs: number): void {
    for (const [from, held] of this.#held) {
      while (held[0] !== undefined && nowMs - held[0].arrivalMs > MAX_HOLD_MS) {
        held.shift();
        this.#foreign++;
      }
      if (held.length === 0) this.#held.delete(from);
    }
  }

  #dropHeld(): void {
    for (const held of this.#held.values()) this.#foreign += held.length;
    this.#held.clear();
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
    const length = Math.floor(payload.byteLength / this.#codec.bytesPerSample);
    if (length === 0 || length > MAX_PACKET_SAMPLES) {
      this.#malformed++;
      return;
    }
    this.#codec.decode(payload, this.#pcm, length);
    this.#sink.audio(this.#pcm, length, timestamp, arrivalMs, verdict !== 'reordered');
  }
}

function sourceName(address: string, port: number): string {
  return `${address} ${port}`;
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
