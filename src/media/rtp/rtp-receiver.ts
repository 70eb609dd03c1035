/**
 * Incoming RTP of one call: parse, judge the source, keep the books, and hand audio and telephone events on. Whatever
 * arrives, nothing is thrown: bad packets are counted and dropped.
 */
import type { CallCodecs } from '../codec/call-codecs.ts';
import type { PayloadDecoder } from '../codec/codecs.ts';
import { OrderedAudio, type AudioSink, type StreamPacket } from './ordered-audio.ts';
import { RtpHeader } from './rtp-header.ts';
import { RtpSequence, type SequenceVerdict } from './rtp-sequence.ts';
import type { RtpTransport } from './rtp-socket.ts';
import { SourceLatch } from './source-latch.ts';
import { SAMPLE_RATE_HZ, type NegotiatedAudio } from '../types.ts';

/** Where received things go. Buffers are valid until the call returns; `arrivalMs` is the clock's time. */
export type ReceiverSink = AudioSink & {
  telephoneEvent(payload: DataView, timestamp: number, arrivalMs: number): boolean;
  /** From `time` on the other side sends no sound but tells what its silence is like (RFC 3389). */
  comfortNoise(payload: DataView, time: number, arrivalMs: number): void;
  /** Another stream began. `isSeamless`: in time with the one before; else times have no relation to those of before. */
  restarted(isSeamless: boolean): void;
  latched(address: string, port: number, nowMs: number): void;
  /** Before a held packet is replayed: time has come this far. */
  advance(nowMs: number): void;
};

type Held = { readonly packet: RtpHeader; readonly arrivalMs: number };

/** Comfort noise where the clock is 8 kHz (RFC 3551): taken also from those who did not announce it. */
const COMFORT_NOISE = 13;
/** Per source: the learning window of a phone that sends 10 ms packets. */
const MAX_HELD = 64;
/** Undecided audio older than this is given up, so that the caller's time never stands still for long. */
const MAX_HOLD_MS = 1000;
/** A new stream is believed after six packets at the latest. */
const MAX_STRAYS = 5;
const NO_TYPE = -1;

/** The packet at hand, of whichever call; what is kept is copied. */
const atHand = new RtpHeader();
const inStream: { -readonly [Key in keyof StreamPacket]: StreamPacket[Key] } = {
  sequence: 0,
  timestamp: 0,
  arrivalMs: 0,
  payload: new DataView(new ArrayBuffer(0)),
  decoder: null,
};

export class RtpReceiver {
  readonly sequence = new RtpSequence();
  readonly #sink: ReceiverSink;
  readonly #latch = new SourceLatch();
  readonly #ordered: OrderedAudio;
  #isOpen = false;
  /** Payload type of the packet before, and whose it is: as a rule the next one's too. */
  #type = NO_TYPE;
  #decoder: PayloadDecoder | null = null;
  #eventType = NO_TYPE;
  #noiseType = COMFORT_NOISE;
  #clockHz = SAMPLE_RATE_HZ;
  #received = 0;
  #lastMs = -1;
  /** Something is to be done each frame: no source is known yet, or packets wait. */
  #isBusy = true;
  /** What may come, by payload type. */
  readonly #decoders = new Map<number, PayloadDecoder>();
  /** Packets that wait for the decision, by source. */
  readonly #held = new Map<string, Held[]>();
  readonly #transport: RtpTransport;
  /** The latest packets of a stream that nobody knows: the first of the next one, if that goes on. */
  readonly #strays: Held[] = [];
  #foreign = 0;
  #malformed = 0;

  constructor(transport: RtpTransport, sink: ReceiverSink) {
    this.#transport = transport;
    this.#sink = sink;
    this.#ordered = new OrderedAudio(sink);
  }

  /** Units of `sequence.jitterUnits`: the RTP clock of what came last. */
  get clockHz(): number {
    return this.#clockHz;
  }

  /** Packets of a codec with state that came after their turn, and samples recovered from redundancy. */
  get tooLate(): number {
    return this.#ordered.tooLate;
  }

  get recoveredMs(): number {
    return this.#ordered.recovered / (SAMPLE_RATE_HZ / 1000);
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

  /** When the last packet of the call came, on the clock, in whole ms; -1 before the first. */
  get lastPacketMs(): number {
    return this.#lastMs;
  }

  /** Arrival of the oldest packet held back: the caller's time must not pass it. Infinity when none is. */
  get heldSinceMs(): number {
    let since = Number.POSITIVE_INFINITY;
    if (!this.#isBusy) return since;
    for (const [first] of this.#held.values()) since = Math.min(since, first?.arrivalMs ?? since);
    return since;
  }

  /**
   * Sets what was negotiated; a new remote address opens the latch again. Payload types of before stay understood unless
   * they have another meaning now: packets under way are heard (RFC 3264 8.3.2). Errors: E_MEDIA.
   */
  negotiate(audio: NegotiatedAudio, codecs: CallCodecs): void {
    this.#isOpen = audio.receive;
    this.#eventType = audio.dtmfPayloadType ?? NO_TYPE;
    this.#noiseType = audio.comfortNoisePayloadType ?? COMFORT_NOISE;
    this.#type = NO_TYPE;
    for (const { codec, payloadType } of audio.alternatives ?? []) {
      this.#decoders.set(payloadType, codecs.decoder(codec));
    }
    this.#decoders.set(audio.receivePayloadType, codecs.decoder(audio.codec));
    if (audio.dtmfPayloadType !== null) this.#decoders.delete(audio.dtmfPayloadType);
    const { remoteAddress, remotePort, srtp, mediaSource } = audio;
    const trust = { isAuthentic: srtp != null, mediaSource };
    if (!this.#latch.signal(remoteAddress, remotePort, trust)) return;
    this.#isBusy = true;
    this.#dropHeld();
    this.#transport.disconnect();
    const isReachable = audio.remotePort > 0 && audio.remoteAddress !== '0.0.0.0';
    this.#transport.aimAt(audio.remoteAddress, isReachable ? audio.remotePort : 0);
  }

  /** Takes a datagram as it came from the socket. */
  datagram(bytes: Uint8Array, address: string, port: number, nowMs: number): void {
    if (!this.#isOpen) return;
    const packet = atHand;
    // Port 0 (RFC 768: no answer wanted) cannot be sent to, and a socket cannot be connected to it.
    if (!packet.read(bytes) || port === 0 || !this.#isOurs(packet.payloadType)) {
      this.#malformed++;
      return;
    }
    switch (this.#latch.judge(address, port, packet, nowMs)) {
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
    if (!this.#isBusy) return;
    this.#ordered.tick(nowMs);
    this.#rest();
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
    const { address, port, isLearnt } = this.#latch;
    // A connected socket would be deaf to the signalled address, should that still begin to speak.
    if (isLearnt) this.#transport.aimAt(address, port);
    else this.#transport.connect(address, port);
    this.#sink.latched(address, port, nowMs);
    this.#rest();
  }

  /** Whether there is anything to do each frame. */
  #rest(): void {
    this.#isBusy = this.#latch.state !== 'latched' || this.#ordered.isWaiting;
  }

  #hold(packet: RtpHeader, address: string, port: number, arrivalMs: number): void {
    const from = sourceName(address, port);
    const held = this.#held.get(from) ?? [];
    this.#held.set(from, held);
    held.push({ packet: packet.copy(), arrivalMs });
    if (held.length <= MAX_HELD) return;
    held.shift();
    this.#foreign++;
  }

  #ageHeld(nowMs: number): void {
    if (this.#held.size === 0) return;
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

  #isOurs(type: number): boolean {
    return this.#decoderOf(type) !== null || type === this.#eventType || type === this.#noiseType;
  }

  #decoderOf(type: number): PayloadDecoder | null {
    if (type !== this.#type) {
      this.#type = type;
      this.#decoder = this.#decoders.get(type) ?? null;
    }
    return this.#decoder;
  }

  #accept(packet: RtpHeader, arrivalMs: number): void {
    const decoder = this.#decoderOf(packet.payloadType);
    if (decoder !== null) this.#clockHz = decoder.clockHz;
    const verdict = this.#note(packet, arrivalMs);
    this.#received++;
    this.#lastMs = Math.floor(arrivalMs);
    if (verdict === 'duplicate') return;
    if (verdict === 'stray') {
      this.#keepStray(packet, arrivalMs);
      return;
    }
    if (verdict === 'restart') this.#restart(packet, arrivalMs);
    this.#deliver(packet, arrivalMs);
  }

  #keepStray(packet: RtpHeader, arrivalMs: number): void {
    const last = this.#strays.at(-1);
    const follows = last !== undefined && isNext(last.packet, packet);
    if (!follows) this.#strays.length = 0;
    this.#strays.push({ packet: packet.copy(), arrivalMs });
    if (this.#strays.length > MAX_STRAYS) this.#strays.shift();
  }

  /** A stream is known by its second packet or a later one; those before are heard too. */
  #restart(packet: RtpHeader, arrivalMs: number): void {
    const last = this.#strays.at(-1);
    const strays = last !== undefined && isNext(last.packet, packet) ? this.#strays.splice(0) : [];
    this.#strays.length = 0;
    const first = strays[0] ?? { packet, arrivalMs };
    const timestamp = first.packet.timestamp;
    this.#sink.restarted(this.#ordered.restart(timestamp, this.#clockHz, first.arrivalMs));
    for (const stray of strays) {
      this.#note(stray.packet, stray.arrivalMs);
      this.#deliver(stray.packet, stray.arrivalMs);
    }
  }

  #note(packet: RtpHeader, arrivalMs: number): SequenceVerdict {
    return this.sequence.note(
      packet.ssrc,
      packet.sequence,
      packet.timestamp,
      Math.round((arrivalMs * this.#clockHz) / 1000),
      this.#clockHz,
      packet.payloadType === this.#eventType,
    );
  }

  #deliver(packet: RtpHeader, arrivalMs: number): void {
    const payload = packet.payload;
    const payloadType = packet.payloadType;
    const timestamp = packet.timestamp;
    const isEvent = payloadType === this.#eventType;
    const decoder = isEvent ? null : this.#decoderOf(payloadType);
    inStream.sequence = packet.sequence;
    inStream.timestamp = timestamp;
    inStream.arrivalMs = arrivalMs;
    inStream.payload = payload;
    inStream.decoder = decoder;
    if (!this.#ordered.packet(inStream)) this.#malformed++;
    if (this.#ordered.isWaiting) this.#isBusy = true;
    if (decoder !== null) return;
    if (isEvent) {
      if (!this.#sink.telephoneEvent(payload, timestamp, arrivalMs)) this.#malformed++;
    } else if (payload.byteLength === 0) {
      this.#malformed++;
    } else {
      const time = this.#ordered.time.at(timestamp, SAMPLE_RATE_HZ);
      this.#sink.comfortNoise(payload, time, arrivalMs);
    }
  }
}

/** Whether `packet` is the one after `before` in one stream. */
function isNext(before: RtpHeader, packet: RtpHeader): boolean {
  const number = (before.sequence + 1) & 0xffff;
  return before.ssrc === packet.ssrc && number === packet.sequence;
}

function sourceName(address: string, port: number): string {
  return `${address} ${port}`;
}
