/** A bare RTP phone for media tests: sends what it is given every 20 ms, keeps what it hears. Own RTP and mu-law code. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export type HeardPacket = {
  readonly atMs: number;
  readonly sequence: number;
  readonly timestamp: number;
  readonly marker: boolean;
  readonly payloadType: number;
  readonly payload: Uint8Array;
  readonly pcm: Int16Array;
};

export class RtpPhone {
  readonly socket: Socket;
  readonly heard: HeardPacket[] = [];
  /** Clock times at which packets were sent. */
  readonly sentAtMs: number[] = [];
  #sequence = 1000;
  #timestamp = 50_000;
  #stopped = false;
  readonly #ssrc: number;

  readonly port: number;

  private constructor(socket: Socket, ssrc: number) {
    this.socket = socket;
    this.port = socket.address().port;
    // A test that fails before it closes its phone must still end.
    socket.unref();
    this.#ssrc = ssrc;
    socket.on('message', (bytes) => this.heard.push(parse(bytes)));
    // A closed far end answers by ICMP; what the phone hears tells enough.
    socket.on('error', () => undefined);
  }

  static async open(address = '127.0.0.1', ssrc = 0x11223344): Promise<RtpPhone> {
    const socket = createSocket('udp4');
    socket.bind(0, address);
    await once(socket, 'listening');
    return new RtpPhone(socket, ssrc);
  }

  /** Sends `pcm` as 20 ms packets at their times; resolves when all are sent or the phone is closed. */
  async play(pcm: Int16Array, toPort: number, toAddress = '127.0.0.1'): Promise<void> {
    const startMs = performance.now();
    for (let frame = 0; (frame + 1) * 160 <= pcm.length; frame++) {
      const waitMs = startMs + frame * 20 - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (this.#stopped) return;
      this.sendFrame(pcm.subarray(frame * 160, (frame + 1) * 160), toPort, toAddress);
    }
  }

  /** Of the next audio packet. */
  get timestamp(): number {
    return this.#timestamp;
  }

  /** Sends one packet now. */
  sendFrame(pcm: Int16Array, toPort: number, toAddress = '127.0.0.1'): void {
    const payload = new Uint8Array(pcm.length);
    for (const [i, sample] of pcm.entries()) payload[i] = muLaw(sample);
    this.send(payload, 0, this.#timestamp, toPort, toAddress);
    this.#timestamp = (this.#timestamp + pcm.length) >>> 0;
  }

  send(
    payload: Uint8Array,
    payloadType: number,
    timestamp: number,
    toPort: number,
    toAddress = '127.0.0.1',
  ): void {
    const bytes = new Uint8Array(12 + payload.length);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, 0x80);
    view.setUint8(1, payloadType);
    view.setUint16(2, this.#sequence);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    view.setUint32(4, timestamp);
    view.setUint32(8, this.#ssrc);
    bytes.set(payload, 12);
    this.sentAtMs.push(performance.now());
    this.socket.send(bytes, toPort, toAddress);
  }

  close(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.socket.close();
  }
}

function parse(bytes: Buffer): HeardPacket {
  const pcm = new Int16Array(bytes.length - 12);
  for (let i = 0; i < pcm.length; i++) pcm[i] = linear(bytes[12 + i] ?? 0xff);
  return {
    atMs: performance.now(),
    marker: (bytes.readUInt8(1) & 0x80) !== 0,
    payloadType: bytes.readUInt8(1) & 0x7f,
    sequence: bytes.readUInt16BE(2),
    timestamp: bytes.readUInt32BE(4),
    payload: new Uint8Array(bytes.subarray(12)),
    pcm,
  };
}

/** Everything heard as one signal, by sequence number. */
export function heardSignal(phone: RtpPhone): Int16Array {
  const first = phone.heard[0]?.sequence ?? 0;
  const pcm = new Int16Array(phone.heard.length * 160);
  for (const packet of phone.heard) pcm.set(packet.pcm, ((packet.sequence - first) & 0xffff) * 160);
  return pcm;
}

/** A tone of `ms` milliseconds, modulated at 5 Hz as speech is when `modulated`. */
export function tone(hz: number, ms: number, amplitude = 8000, modulated = false): Int16Array {
  const pcm = new Int16Array(ms * 8);
  for (let i = 0; i < pcm.length; i++) {
    const swing = modulated ? 0.6 + 0.4 * Math.sin((2 * Math.PI * 5 * i) / 8000) : 1;
    pcm[i] = Math.round(amplitude * swing * Math.sin((2 * Math.PI * hz * i) / 8000));
  }
  return pcm;
}

/** A sweep: unlike a tone it resembles itself at one shift only, so that correlation finds the place. */
export function sweep(fromHz: number, toHz: number, ms: number, amplitude = 8000): Int16Array {
  const pcm = new Int16Array(ms * 8);
  const seconds = ms / 1000;
  for (let i = 0; i < pcm.length; i++) {
    const t = i / 8000;
    const cycles = fromHz * t + ((toHz - fromHz) * t * t) / (2 * seconds);
    pcm[i] = Math.round(amplitude * Math.sin(2 * Math.PI * cycles));
  }
  return pcm;
}

export function concat(...parts: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Best normalised correlation of `wanted` within `signal`, and where it begins. */
export function find(
  wanted: Int16Array,
  signal: Int16Array,
): { readonly correlation: number; readonly at: number } {
  let best = { correlation: 0, at: -1 };
  // Coarse by every fourth sample of the reference, then exact around the best place.
  for (let at = 0; at + wanted.length <= signal.length; at++) {
    const correlation = correlate(wanted, signal, at, 7);
    if (correlation > best.correlation) best = { correlation, at };
  }
  if (best.at < 0) return best;
  return { correlation: correlate(wanted, signal, best.at, 1), at: best.at };
}

function correlate(wanted: Int16Array, signal: Int16Array, at: number, step: number): number {
  let product = 0;
  let a = 1;
  let b = 1;
  for (let i = 0; i < wanted.length; i += step) {
    const x = wanted[i] ?? 0;
    const y = signal[at + i] ?? 0;
    product += x * y;
    a += x * x;
    b += y * y;
  }
  return product / Math.sqrt(a * b);
}

function muLaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(32_635, Math.abs(sample)) + 132;
  let exponent = 7;
  for (let mask = 0x4000; (magnitude & mask) === 0 && exponent > 0; mask >>= 1) exponent--;
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) & 0xff;
}

function linear(code: number): number {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 15) << 3) + 132) << ((bits >> 4) & 7)) - 132;
  return (bits & 0x80) === 0 ? magnitude : -magnitude;
}
