/**
 * SRTP between the socket and the chain: the chain sees plain packets, and only authentic ones; what leaves is encrypted,
 * or does not leave. A call without SRTP passes through. Nothing passes before it is known which of the two it is.
 */
import type { SrtpKey, SrtpKeys } from '#lib/srtp-params.ts';
import type { DatagramListener, RtpTransport } from '../rtp/rtp-socket.ts';
import { FORGED, REPLAYED, SRTP_OVERHEAD, SrtpOpener, SrtpSealer, UNREADABLE } from './srtp.ts';
import { MAX_PACKET_BYTES } from './srtp-cipher.ts';

/** What was dropped, of RTP and RTCP together. */
export type SrtpCounters = {
  /** Authentication failed: wrong key, plain RTP, a stranger. */
  readonly forged: number;
  /** The longest run of such RTP without an authentic packet in between: the far end has other keys than we. */
  readonly forgedRun: number;
  readonly replayed: number;
  /** No RTP at all, or too long. */
  readonly unreadable: number;
  /** Ours that could not be encrypted and hence were not sent. */
  readonly unsent: number;
};

const NO_MKI = new Uint8Array(0);

type Sending = { readonly key: SrtpKey; readonly sealer: SrtpSealer };
type Receiving = { readonly key: SrtpKey; readonly opener: SrtpOpener };

export class SecureTransport implements RtpTransport {
  readonly #inner: RtpTransport;
  readonly #packet = new Uint8Array(MAX_PACKET_BYTES + SRTP_OVERHEAD);
  /** The packet at the length it had last: lengths rarely change, and a view is made for each. */
  #view = this.#packet.subarray(0, 0);
  #state: 'undecided' | 'plain' | 'secure' = 'undecided';
  #listener: DatagramListener | null = null;
  #sending: Sending | null = null;
  #receiving: Receiving | null = null;
  /** Of the key before, until a packet under the new one has come: the change of keys crosses packets under way. */
  #former: Receiving | null = null;
  readonly #counters = { forged: 0, forgedRun: 0, replayed: 0, unreadable: 0, unsent: 0 };
  /** The run that goes on. */
  #forgedRun = 0;

  constructor(inner: RtpTransport) {
    this.#inner = inner;
  }

  get counters(): SrtpCounters {
    return this.#counters;
  }

  get isSecure(): boolean {
    return this.#state === 'secure';
  }

  get sendErrors(): number {
    return this.#inner.sendErrors;
  }

  /** What was negotiated, again with every renegotiation; null: plain RTP. A key that stays goes on where it was. */
  secure(keys: SrtpKeys | null): void {
    if (keys === null) {
      this.#state = 'plain';
      this.#sending = null;
      this.#receiving = null;
      this.#former = null;
      this.#listen();
      return;
    }
    this.#state = 'secure';
    this.#listen();
    const { send, receive } = keys;
    if (this.#sending === null || !isSame(this.#sending.key, send)) {
      this.#sending = {
        key: send,
        sealer: new SrtpSealer(send, this.#sending?.sealer ?? null),
      };
    }
    const before = this.#receiving;
    if (before !== null && isSame(before.key, receive)) return;
    this.#receiving = { key: receive, opener: new SrtpOpener(receive, before?.opener ?? null) };
    this.#former = before;
  }

  onDatagram(listener: DatagramListener): void {
    this.#listener = listener;
    this.#listen();
  }

  onRtcp(listener: DatagramListener): void {
    this.#inner.onRtcp((bytes, address, port, atMs) => {
      const plain = this.#opened(bytes, true);
      if (plain !== null) listener(plain, address, port, atMs);
    });
  }

  routeRtcp(isMuxed: boolean, port: number | null): void {
    this.#inner.routeRtcp(isMuxed, port);
  }

  aimAt(address: string, port: number): void {
    this.#inner.aimAt(address, port);
  }

  connect(address: string, port: number): void {
    this.#inner.connect(address, port);
  }

  disconnect(): void {
    this.#inner.disconnect();
  }

  send(bytes: Uint8Array): void {
    const sealed = this.#sealed(bytes, false);
    if (sealed !== null) this.#inner.send(sealed);
  }

  sendRtcp(bytes: Uint8Array): void {
    const sealed = this.#sealed(bytes, true);
    if (sealed !== null) this.#inner.sendRtcp(sealed);
  }

  close(): void {
    this.#inner.close();
  }

  /** Of a call without SRTP nothing passes through here: every packet would fetch this for nothing. */
  #listen(): void {
    const listener = this.#listener;
    if (listener === null) return;
    if (this.#state === 'plain') {
      this.#inner.onDatagram(listener);
      return;
    }
    this.#inner.onDatagram((bytes, address, port, atMs) => {
      const plain = this.#opened(bytes, false);
      if (plain !== null) listener(plain, address, port, atMs);
    });
  }

  #sealed(bytes: Uint8Array, isRtcp: boolean): Uint8Array | null {
    if (this.#state === 'plain') return bytes;
    const sealer = this.#sending?.sealer;
    if (sealer === undefined || bytes.length > MAX_PACKET_BYTES) {
      this.#counters.unsent++;
      return null;
    }
    this.#packet.set(bytes);
    const length = isRtcp
      ? sealer.rtcp(this.#packet, bytes.length)
      : sealer.rtp(this.#packet, bytes.length);
    if (length < 0) {
      this.#counters.unsent++;
      return null;
    }
    if (this.#view.length !== length) this.#view = this.#packet.subarray(0, length);
    return this.#view;
  }

  /** Decrypts where the datagram lies: whoever holds it back for a while holds the plain packet. */
  #opened(bytes: Uint8Array, isRtcp: boolean): Uint8Array | null {
    if (this.#state === 'plain') return bytes;
    const current = this.#receiving?.opener;
    if (current === undefined) {
      this.#counters.unreadable++;
      return null;
    }
    let length = isRtcp ? current.rtcp(bytes) : current.rtp(bytes);
    if (length === FORGED && this.#former !== null) {
      const former = this.#former.opener;
      length = isRtcp ? former.rtcp(bytes) : former.rtp(bytes);
    } else if (length >= 0) this.#former = null;
    if (length < 0) {
      this.#count(length, isRtcp);
      return null;
    }
    if (!isRtcp) this.#forgedRun = 0;
    return bytes.subarray(0, length);
  }

  #count(verdict: number, isRtcp: boolean): void {
    if (verdict === REPLAYED) this.#counters.replayed++;
    else if (verdict === UNREADABLE) this.#counters.unreadable++;
    else {
      this.#counters.forged++;
      if (isRtcp) return;
      this.#forgedRun++;
      this.#counters.forgedRun = Math.max(this.#counters.forgedRun, this.#forgedRun);
    }
  }
}

function isSame(a: SrtpKey, b: SrtpKey): boolean {
  const isKey = a.suite === b.suite && equal(a.key, b.key) && equal(a.salt, b.salt);
  return isKey && equal(a.mki ?? NO_MKI, b.mki ?? NO_MKI);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
