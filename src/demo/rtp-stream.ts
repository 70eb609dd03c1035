/** The caller's RTP (RFC 3550) over one UDP socket: a packet every 20 ms out, every packet in kept with its time. */
import { createSocket, type Socket } from 'node:dgram';
import { randomInt } from 'node:crypto';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { decodeG711, encodeG711, PAYLOAD_TYPE, type G711Name } from './g711.ts';

export const FRAME_MS = 20;
export const FRAME_SAMPLES = 160;
const HEADER_BYTES = 12;
/** Half an hour at 50 packets a second; older ones stay, newer ones are only counted. */
const MAX_KEPT_PACKETS = 90_000;

export type ReceivedPacket = {
  /** Arrival on `clock.now()`. */
  readonly atMs: number;
  readonly sequence: number;
  readonly timestamp: number;
  readonly payloadType: number;
  readonly ssrc: number;
  readonly marker: boolean;
  readonly payload: Uint8Array;
};

export type RtpStream = {
  readonly localPort: number;
  readonly received: readonly ReceivedPacket[];
  /** Packets thrown away because they were no RTP, or because half an hour was kept. */
  readonly dropped: number;
  /** One entry per packet sent: when, and whether it carried played sound rather than silence. */
  readonly sent: readonly { readonly atMs: number; readonly speech: boolean }[];
  /** Starts (or redirects) sending. */
  start(to: { readonly address: string; readonly port: number; readonly codec: G711Name }): void;
  /** Queues sound behind what still plays; resolves with the send time of its first and last packet. */
  play(pcm: Int16Array): Promise<{ readonly firstMs: number; readonly lastMs: number }>;
  onPacket(listener: (packet: ReceivedPacket, pcm: Int16Array) => void): void;
  close(): void;
};

type Queued = {
  readonly pcm: Int16Array;
  at: number;
  firstMs: number;
  readonly done: (times: { firstMs: number; lastMs: number }) => void;
  readonly failed: (error: Error) => void;
};

/** Binds an RTP socket on `localAddress`, an even port as RFC 3550 11 likes. Errors: E_MEDIA. */
export async function openRtp(
  localAddress: string,
  clock: Clock = systemClock,
): Promise<RtpStream> {
  const socket = await bindEven(localAddress);
  return new Stream(socket, clock);
}

async function bindEven(localAddress: string): Promise<Socket> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const socket = createSocket('udp4');
    const port = await new Promise<number>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, localAddress, () => resolve(socket.address().port));
    }).catch((error: unknown) => {
      socket.close();
      throw new AppError('E_MEDIA', `no RTP socket on ${localAddress}`, { cause: error });
    });
    if (port % 2 === 0) return socket;
    socket.close();
  }
  throw new AppError('E_MEDIA', `no even RTP port free on ${localAddress}`);
}

class Stream implements RtpStream {
  readonly localPort: number;
  readonly received: ReceivedPacket[] = [];
  readonly sent: { atMs: number; speech: boolean }[] = [];
  dropped = 0;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #queue: Queued[] = [];
  readonly #ssrc = randomInt(0xffff_ffff);
  #listener: (packet: ReceivedPacket, pcm: Int16Array) => void = () => undefined;
  #to: { address: string; port: number; codec: G711Name } | null = null;
  #sequence = randomInt(0x1_0000);
  #timestamp = randomInt(0xffff_ffff);
  #startMs = 0;
  #ticks = 0;
  #timer: TimerHandle | undefined;
  #closed = false;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.localPort = socket.address().port;
    socket.removeAllListeners('error');
    // A port closed on the far side comes back as an ICMP error on send; the call's SIP side tells what happened.
    socket.on('error', () => (this.dropped += 1));
    socket.on('message', (bytes) => this.#receive(bytes));
  }

  start(to: { address: string; port: number; codec: G711Name }): void {
    const first = this.#to === null;
    this.#to = to;
    if (!first || this.#closed) return;
    this.#startMs = this.#clock.now();
    this.#tick();
  }

  play(pcm: Int16Array): Promise<{ firstMs: number; lastMs: number }> {
    const { promise, resolve, reject } = Promise.withResolvers<{
      firstMs: number;
      lastMs: number;
    }>();
    if (this.#closed) reject(new AppError('E_ABORTED', 'the call is over'));
    else if (pcm.length === 0) reject(new AppError('E_MEDIA', 'nothing to play'));
    else this.#queue.push({ pcm, at: 0, firstMs: 0, done: resolve, failed: reject });
    return promise;
  }

  onPacket(listener: (packet: ReceivedPacket, pcm: Int16Array) => void): void {
    this.#listener = listener;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.clearTimer(this.#timer);
    for (const queued of this.#queue.splice(0))
      queued.failed(new AppError('E_ABORTED', 'the call is over'));
    this.#socket.close();
  }

  /** Sends what is due by now and sleeps to the next absolute deadline, so lateness never adds up. */
  #tick(): void {
    const nowMs = this.#clock.now();
    while (this.#startMs + this.#ticks * FRAME_MS <= nowMs) {
      this.#sendFrame(nowMs);
      this.#ticks += 1;
    }
    const waitMs = this.#startMs + this.#ticks * FRAME_MS - this.#clock.now();
    this.#timer = this.#clock.setTimer(() => this.#tick(), Math.max(0, waitMs));
  }

  #sendFrame(nowMs: number): void {
    const to = this.#to;
    const { frame, speech } = this.#nextFrame(nowMs);
    if (to !== null && to.port !== 0 && to.address !== '0.0.0.0') {
      const packet = Buffer.alloc(HEADER_BYTES + FRAME_SAMPLES);
      packet[0] = 0x80;
      packet[1] = PAYLOAD_TYPE[to.codec] | (this.#ticks === 0 ? 0x80 : 0);
      packet.writeUInt16BE(this.#sequence, 2);
      packet.writeUInt32BE(this.#timestamp, 4);
      packet.writeUInt32BE(this.#ssrc, 8);
      packet.set(encodeG711(to.codec, frame), HEADER_BYTES);
      this.#socket.send(packet, to.port, to.address);
      if (this.sent.length < MAX_KEPT_PACKETS) this.sent.push({ atMs: nowMs, speech });
      this.#sequence = (this.#sequence + 1) & 0xffff;
    }
    this.#timestamp = (this.#timestamp + FRAME_SAMPLES) >>> 0;
  }

  #nextFrame(nowMs: number): { frame: Int16Array; speech: boolean } {
    const frame = new Int16Array(FRAME_SAMPLES);
    const playing = this.#queue[0];
    if (playing === undefined) return { frame, speech: false };
    if (playing.at === 0) playing.firstMs = nowMs;
    frame.set(playing.pcm.subarray(playing.at, playing.at + FRAME_SAMPLES));
    playing.at += FRAME_SAMPLES;
    if (playing.at >= playing.pcm.length) {
      this.#queue.shift();
      playing.done({ firstMs: playing.firstMs, lastMs: nowMs });
    }
    return { frame, speech: true };
  }

  #receive(bytes: Buffer): void {
    const packet = parseRtp(bytes, this.#clock.now());
    if (packet === undefined || this.received.length >= MAX_KEPT_PACKETS) {
      this.dropped += 1;
      return;
    }
    this.received.push(packet);
    const codec = packet.payloadType === 8 ? 'PCMA' : 'PCMU';
    const isAudio = packet.payloadType === 0 || packet.payloadType === 8;
    this.#listener(packet, isAudio ? decodeG711(codec, packet.payload) : new Int16Array(0));
  }
}

/** Undefined for anything that is not RTP version 2 with a whole header (RTCP shares the shape: types 64-95 are its). */
export function parseRtp(bytes: Buffer, atMs: number): ReceivedPacket | undefined {
  if (bytes.length < HEADER_BYTES || (bytes[0] ?? 0) >> 6 !== 2) return undefined;
  const flags = bytes[0] ?? 0;
  const payloadType = (bytes[1] ?? 0) & 0x7f;
  if (payloadType >= 64 && payloadType <= 95) return undefined;
  let start = HEADER_BYTES + (flags & 0x0f) * 4;
  if (flags & 0x10) {
    if (bytes.length < start + 4) return undefined;
    start += 4 + bytes.readUInt16BE(start + 2) * 4;
  }
  const padding = flags & 0x20 ? (bytes.at(-1) ?? 0) : 0;
  if (start + padding > bytes.length) return undefined;
  return {
    atMs,
    sequence: bytes.readUInt16BE(2),
    timestamp: bytes.readUInt32BE(4),
    payloadType,
    ssrc: bytes.readUInt32BE(8),
    marker: ((bytes[1] ?? 0) & 0x80) !== 0,
    payload: Uint8Array.from(bytes.subarray(start, bytes.length - padding)),
  };
}
