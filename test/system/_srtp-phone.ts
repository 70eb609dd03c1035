/** A phone that speaks SRTP by another implementation (werift-rtp): own sockets, own mu-law, keys as SDP lines. */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { RtpHeader, SrtcpSession, SrtpSession } from 'werift-rtp';
import { concat } from './_rtp-phone.ts';

export type PhoneSuite = 'AES_CM_128_HMAC_SHA1_80' | 'AEAD_AES_128_GCM';

const SUITES = {
  AES_CM_128_HMAC_SHA1_80: { profile: 1, saltBytes: 14 },
  AEAD_AES_128_GCM: { profile: 7, saltBytes: 12 },
} as const;
const KEY_BYTES = 16;
const FRAME = 160;

export class SrtpPhone {
  readonly suite: PhoneSuite;
  readonly port: number;
  /** What was heard and authentic, by frames. */
  readonly heard: { readonly sequence: number; readonly pcm: Int16Array }[] = [];
  /** Packets that were not: plain, or under another key. */
  refused = 0;
  reports = 0;
  readonly inline: string;
  readonly #own: Buffer;
  readonly #socket: Socket;
  readonly #rtcp: Socket;
  #rtp: SrtpSession | null = null;
  #srtcp: SrtcpSession | null = null;
  #sequence = 30_000;
  #timestamp = 7_000;
  readonly #openedMs = performance.now();
  #isClosed = false;

  private constructor(suite: PhoneSuite, socket: Socket, rtcp: Socket) {
    this.suite = suite;
    this.#socket = socket;
    this.#rtcp = rtcp;
    this.port = socket.address().port;
    this.#own = randomBytes(KEY_BYTES + SUITES[suite].saltBytes);
    this.inline = this.#own.toString('base64');
    for (const each of [socket, rtcp]) {
      each.unref();
      // A closed far end answers by ICMP; what the phone hears tells enough.
      each.on('error', () => undefined);
    }
    socket.on('message', (bytes) => this.#hear(bytes));
    rtcp.on('message', (bytes) => this.#report(bytes));
  }

  static async open(suite: PhoneSuite): Promise<SrtpPhone> {
    const bind = async (port: number): Promise<Socket> => {
      const socket = createSocket('udp4');
      socket.bind(port, '127.0.0.1');
      await once(socket, 'listening');
      return socket;
    };
    const socket = await bind(0);
    const rtcp = await bind(socket.address().port + 1);
    return new SrtpPhone(suite, socket, rtcp);
  }

  /** The far end's key, as its `a=crypto` line has it; `ours` in place of the phone's own. */
  agree(inline: string, ours: Buffer = this.#own): void {
    const { profile } = SUITES[this.suite];
    const theirs = Buffer.from(inline, 'base64');
    const keys = {
      localMasterKey: ours.subarray(0, KEY_BYTES),
      localMasterSalt: ours.subarray(KEY_BYTES),
      remoteMasterKey: theirs.subarray(0, KEY_BYTES),
      remoteMasterSalt: theirs.subarray(KEY_BYTES),
    };
    this.#rtp = new SrtpSession({ keys, profile });
    this.#srtcp = new SrtcpSession({ keys, profile });
  }

  /** Sends 20 ms packets at their times. `plain`: without SRTP. */
  async play(pcm: Int16Array, toPort: number, options: { plain?: boolean } = {}): Promise<void> {
    const startMs = performance.now();
    // Time stamps are time, also that in which nothing was sent.
    const elapsed = Math.round((startMs - this.#openedMs) / 20) * FRAME;
    this.#timestamp = Math.max(this.#timestamp, 7_000 + elapsed);
    for (let frame = 0; (frame + 1) * FRAME <= pcm.length; frame++) {
      const waitMs = startMs + frame * 20 - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (this.#isClosed) return;
      this.sendFrame(pcm.subarray(frame * FRAME, (frame + 1) * FRAME), toPort, options);
    }
  }

  sendFrame(pcm: Int16Array, toPort: number, { plain = false }: { plain?: boolean } = {}): void {
    const header = new RtpHeader({
      ...{ version: 2, payloadType: 0, ssrc: 0x5eed },
      ...{ sequenceNumber: this.#sequence & 0xffff, timestamp: this.#timestamp },
    });
    this.#sequence++;
    this.#timestamp += FRAME;
    const payload = Buffer.from(pcm.map(muLaw));
    const head = header.serialize(12);
    const bytes = plain ? Buffer.concat([head, payload]) : this.#rtp?.encrypt(payload, header);
    if (bytes !== undefined) this.#socket.send(bytes, toPort, '127.0.0.1');
  }

  /** All that was heard, in the order it came. */
  get signal(): Int16Array {
    return concat(...this.heard.map(({ pcm }) => pcm));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    this.#rtcp.close();
  }

  #hear(bytes: Buffer): void {
    try {
      const plain = this.#rtp?.decrypt(bytes);
      if (plain === undefined) throw new Error('no key yet');
      const pcm = Int16Array.from(plain.subarray(12), linear);
      this.heard.push({ sequence: plain.readUInt16BE(2), pcm });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.refused++;
    }
  }

  #report(bytes: Buffer): void {
    try {
      if (this.#srtcp?.decrypt(bytes) !== undefined) this.reports++;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.refused++;
    }
  }
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
