/** A media chain on a simulated clock with a network and a disk made of arrays. */
import { SimulatedClock } from '#lib/clock.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import { buildChain, type MediaChain } from '#media/media-chain.ts';
import { Pacer } from '#media/pacer.ts';
import { PlayoutWriter } from '#media/playout/playout-writer.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import type { DatagramListener, RtpTransport } from '#media/rtp/rtp-socket.ts';
import type { MediaEvent, NegotiatedAudio } from '#media/types.ts';
import { UtteranceMarks } from '#media/playout/utterance-marks.ts';
import { MemoryDisk } from './_disk.ts';

export const PHONE = { address: '192.0.2.1', port: 4000 };

export const AUDIO: NegotiatedAudio = {
  codec: 'PCMU',
  payloadType: 0,
  receivePayloadType: 0,
  dtmfPayloadType: 101,
  remoteAddress: PHONE.address,
  remotePort: PHONE.port,
  send: true,
  receive: true,
};

export type SentPacket = {
  readonly atMs: number;
  readonly to: string;
  readonly marker: boolean;
  readonly payloadType: number;
  readonly sequence: number;
  readonly timestamp: number;
  readonly ssrc: number;
  readonly payload: Uint8Array;
};

export class FakeTransport implements RtpTransport {
  readonly sent: SentPacket[] = [];
  readonly rtcp: { readonly atMs: number; readonly bytes: Uint8Array }[] = [];
  readonly log: string[] = [];
  readonly sendErrors = 0;
  keep = true;
  isClosed = false;
  listener: DatagramListener | null = null;
  rtcpListener: DatagramListener | null = null;
  rtcpRoute = { isMuxed: false, port: null as number | null };
  readonly #clock: SimulatedClock;
  #to = '';

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  onDatagram(listener: DatagramListener): void {
    this.listener = listener;
  }

  aimAt(address: string, port: number): void {
    this.#to = `${address}:${port}`;
  }

  connect(address: string, port: number): void {
    this.aimAt(address, port);
    this.log.push(`connect ${this.#to}`);
  }

  disconnect(): void {
    this.log.push('disconnect');
  }

  send(bytes: Uint8Array): void {
    if (!this.keep) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.sent.push({
      atMs: this.#clock.now(),
      to: this.#to,
      marker: (view.getUint8(1) & 0x80) !== 0,
      payloadType: view.getUint8(1) & 0x7f,
      sequence: view.getUint16(2),
      timestamp: view.getUint32(4),
      ssrc: view.getUint32(8),
      payload: bytes.slice(12),
    });
  }

  onRtcp(listener: DatagramListener): void {
    this.rtcpListener = listener;
  }

  routeRtcp(isMuxed: boolean, port: number | null): void {
    this.rtcpRoute = { isMuxed, port };
  }

  sendRtcp(bytes: Uint8Array): void {
    this.rtcp.push({ atMs: this.#clock.now(), bytes: bytes.slice() });
  }

  close(): void {
    this.isClosed = true;
  }
}

export { MemoryDisk };

export type TestChain = {
  readonly clock: SimulatedClock;
  readonly pacer: Pacer;
  readonly transport: FakeTransport;
  readonly chain: MediaChain;
  readonly callerRing: SampleRing;
  readonly writer: PlayoutWriter;
  readonly events: MediaEvent[];
  readonly disk: MemoryDisk;
  readonly rooms: number[];
  /** Requests of digits that have been sent. */
  readonly sentDigits: number[];
};

export type TestChainOptions = {
  readonly disk?: MemoryDisk;
  readonly firstRtpTimeoutMs?: number;
  readonly rtpTimeoutMs?: number;
  readonly recordsOnCommand?: boolean;
  /** Instead of the fake network. */
  readonly transport?: (pacer: Pacer) => RtpTransport;
  /** Whether a frame is speech; default: it is loud. */
  readonly isSpeech?: (frame: Int16Array) => boolean;
};

export function testChain(options: TestChainOptions = {}): TestChain {
  const clock = new SimulatedClock();
  const pacer = new Pacer({ clock });
  const transport = new FakeTransport(clock);
  const callerRing = SampleRing.create(32_000);
  const playoutRing = SampleRing.create(64_000);
  const marks = UtteranceMarks.create();
  const writer = new PlayoutWriter(playoutRing, marks);
  const events: MediaEvent[] = [];
  const rooms: number[] = [];
  const sentDigits: number[] = [];
  const disk = options.disk ?? new MemoryDisk();
  const isSpeech = options.isSpeech ?? ((frame) => frame.some((x) => Math.abs(x) > 2000));
  const chain = buildChain({
    clock,
    wireOriginMs: 0,
    transport: options.transport?.(pacer) ?? transport,
    pacer,
    classifier: { isSpeech, free: () => undefined },
    callerRing,
    playoutRing,
    marks,
    record: (onFailed) =>
      new RecordingFile({ path: 'memory', clock, onFailed, open: () => Promise.resolve(disk) }),
    recordsOnCommand: options.recordsOnCommand ?? false,
    firstRtpTimeoutMs: options.firstRtpTimeoutMs ?? 30_000,
    rtpTimeoutMs: options.rtpTimeoutMs ?? 15_000,
    cname: 'test',
    emit: (event) => events.push(event),
    tellDigits: (request) => sentDigits.push(request),
    tellRoom: () => {
      rooms.push(clock.now());
      writer.pump();
    },
  });
  return { clock, pacer, transport, chain, callerRing, writer, events, disk, rooms, sentDigits };
}

export type RtpFields = {
  readonly sequence: number;
  readonly timestamp: number;
  readonly payload: Uint8Array;
  readonly payloadType?: number;
  readonly ssrc?: number;
  readonly marker?: boolean;
};

export function rtp(fields: RtpFields): Uint8Array {
  const bytes = new Uint8Array(12 + fields.payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x80);
  view.setUint8(1, (fields.marker ? 0x80 : 0) | (fields.payloadType ?? 0));
  view.setUint16(2, fields.sequence & 0xffff);
  view.setUint32(4, fields.timestamp >>> 0);
  view.setUint32(8, fields.ssrc ?? 7);
  bytes.set(fields.payload, 12);
  return bytes;
}
