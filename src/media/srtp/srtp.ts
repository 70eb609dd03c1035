/** SRTP and SRTCP of one direction (RFC 3711, RFC 7714): packets in, packets out, on buffers of the caller. */
import type { SrtpKey } from '#lib/srtp-params.ts';
import {
  CounterModeCipher,
  GcmCipher,
  MAX_PACKET_BYTES,
  type PacketCipher,
  type PacketPlace,
} from './srtp-cipher.ts';
import { guessIndex, ReplayWindow } from './srtp-index.ts';
import { sessionKeys, SUITE_FACTS } from './srtp-keys.ts';

/** What became of a packet: its plain length, or why there is none. */
export const FORGED = -1;
export const REPLAYED = -2;
export const UNREADABLE = -3;

const RTP_HEADER = 12;
const RTCP_HEADER = 8;
const INDEX_BYTES = 4;
/** The packet is encrypted (RFC 3711 3.4); the other 31 bits are the index. */
const ENCRYPTED = 0x8000_0000;
const MAX_RTCP_INDEX = 0x7fff_ffff;
const CYCLE = 65_536;
/** A stream whose first packets were lost may have wrapped within them: five minutes at 50 packets a second. */
const EARLY_WRAP = 16_384;
/** Sources of one call whose books are kept; no call has as many, and forgetting one would let it be replayed. */
const MAX_SOURCES = 64;

type MutablePlace = { -readonly [K in keyof PacketPlace]: PacketPlace[K] };

const MAX_MKI_BYTES = 4;
const NO_MKI = new Uint8Array(0);

/** Bytes that sealing adds at most. */
export const SRTP_OVERHEAD = 16 + INDEX_BYTES + MAX_MKI_BYTES;

export class SrtpSealer {
  readonly #rtp: PacketCipher;
  readonly #rtcp: PacketCipher;
  readonly #isAead: boolean;
  readonly #mki: Uint8Array;
  readonly #trailer = new Uint8Array(INDEX_BYTES);
  readonly #trailerView = new DataView(this.#trailer.buffer);
  readonly #place: MutablePlace = { headerBytes: 0, length: 0, ssrc: 0, index: 0 };
  /** Highest index of each source of ours: another clock of RTP is another one (RFC 7160), and begins at cycle 0. */
  readonly #highest: Map<number, number>;
  #rtcpIndex: number;

  /** `after`: the sealer of the key before; counters run on through a change of keys (RFC 3711 3.3.1). */
  constructor(key: SrtpKey, after: SrtpSealer | null = null) {
    const suite = SUITE_FACTS[key.suite];
    this.#isAead = suite.isAead;
    this.#mki = key.mki ?? NO_MKI;
    this.#rtp = cipherOf(key, 'rtp');
    this.#rtcp = cipherOf(key, 'rtcp');
    this.#highest = new Map(after === null ? [] : after.#highest);
    this.#rtcpIndex = after === null ? 0 : after.#rtcpIndex;
  }

  /** Encrypts the RTP packet in the first `length` bytes and returns the new length, REPLAYED or UNREADABLE. */
  rtp(bytes: Uint8Array, length: number): number {
    const headerBytes = rtpHeaderBytes(bytes, length);
    if (headerBytes < 0 || length + SRTP_OVERHEAD > bytes.length) return UNREADABLE;
    const ssrc = u32(bytes, 8);
    const sequence = u16(bytes, 2);
    const highest = this.#highest.get(ssrc);
    const index = highest === undefined ? sequence : guessIndex(highest, sequence);
    // A number never repeats under a key: the key stream would be used twice.
    if (highest !== undefined && index <= highest) return REPLAYED;
    if (highest === undefined && this.#highest.size >= MAX_SOURCES) return UNREADABLE;
    this.#highest.set(ssrc, index);
    const place = this.#placed(headerBytes, length, ssrc, index);
    this.#trailerView.setUint32(0, Math.floor(index / CYCLE));
    this.#rtp.seal(bytes, place, this.#trailer);
    const { tagBytes } = this.#rtp;
    // The MKI stands before the tag of an HMAC (RFC 3711 3.1), and behind that of an AEAD (RFC 7714 8.3).
    if (this.#isAead) bytes.set(this.#mki, length + tagBytes);
    else this.#insert(bytes, length, this.#mki, tagBytes);
    return length + tagBytes + this.#mki.length;
  }

  /** The same for a compound RTCP packet. UNREADABLE also when 2^31 have been sent: the key is used up. */
  rtcp(bytes: Uint8Array, length: number): number {
    if (length < RTCP_HEADER || length + SRTP_OVERHEAD > bytes.length) return UNREADABLE;
    if (this.#rtcpIndex > MAX_RTCP_INDEX) return UNREADABLE;
    const index = this.#rtcpIndex++;
    const place = this.#placed(RTCP_HEADER, length, u32(bytes, 4), index);
    this.#trailerView.setUint32(0, (ENCRYPTED + index) >>> 0);
    this.#rtcp.seal(bytes, place, this.#trailer);
    const { tagBytes } = this.#rtcp;
    if (this.#isAead) {
      bytes.set(this.#trailer, length + tagBytes);
      bytes.set(this.#mki, length + tagBytes + INDEX_BYTES);
    } else {
      this.#insert(bytes, length, this.#mki, tagBytes);
      this.#insert(bytes, length, this.#trailer, this.#mki.length + tagBytes);
    }
    return length + tagBytes + INDEX_BYTES + this.#mki.length;
  }

  /** Puts `field` at `at`, before the `behind` bytes that are there. */
  #insert(bytes: Uint8Array, at: number, field: Uint8Array, behind: number): void {
    if (field.length === 0) return;
    bytes.copyWithin(at + field.length, at, at + behind);
    bytes.set(field, at);
  }

  #placed(headerBytes: number, length: number, ssrc: number, index: number): PacketPlace {
    return fill(this.#place, headerBytes, length, ssrc, index);
  }
}

/** The books of one source. */
type Source = { readonly rtp: ReplayWindow; readonly rtcp: ReplayWindow };

export class SrtpOpener {
  readonly #rtp: PacketCipher;
  readonly #rtcp: PacketCipher;
  readonly #isAead: boolean;
  readonly #mki: Uint8Array;
  readonly #trailer = new Uint8Array(INDEX_BYTES);
  readonly #trailerView = new DataView(this.#trailer.buffer);
  readonly #place: MutablePlace = { headerBytes: 0, length: 0, ssrc: 0, index: 0 };
  readonly #sources = new Map<number, Source>();
  /** Under the key before; counters may run on from there, or begin at 0 again: both are met. */
  readonly #before: ReadonlyMap<number, Source>;

  constructor(key: SrtpKey, after: SrtpOpener | null = null) {
    this.#isAead = SUITE_FACTS[key.suite].isAead;
    this.#mki = key.mki ?? NO_MKI;
    this.#rtp = cipherOf(key, 'rtp');
    this.#rtcp = cipherOf(key, 'rtcp');
    this.#before = after === null ? new Map() : after.#sources;
  }

  /** Decrypts in place and returns the plain length; else FORGED, REPLAYED or UNREADABLE, and nothing is changed. */
  rtp(bytes: Uint8Array): number {
    const length = bytes.length - this.#rtp.tagBytes - this.#mki.length;
    const headerBytes = bytes.length > MAX_PACKET_BYTES ? -1 : rtpHeaderBytes(bytes, length);
    if (headerBytes < 0) return UNREADABLE;
    if (!this.#hasMki(bytes, this.#isAead ? 0 : this.#rtp.tagBytes)) return FORGED;
    const ssrc = u32(bytes, 8);
    const sequence = u16(bytes, 2);
    const source = this.#sources.get(ssrc);
    if (source !== undefined && source.rtp.highest >= 0) {
      const index = guessIndex(source.rtp.highest, sequence);
      if (!source.rtp.isFresh(index)) return REPLAYED;
      if (!this.#openRtp(bytes, headerBytes, length, ssrc, index)) return FORGED;
      source.rtp.note(index);
      return length;
    }
    return this.#first(bytes, headerBytes, length, ssrc, sequence);
  }

  /** The first packet of a source: its roll-over counter is known from before, or 0, or has just become 1. */
  #first(
    bytes: Uint8Array,
    headerBytes: number,
    length: number,
    ssrc: number,
    sequence: number,
  ): number {
    const before = this.#before.get(ssrc)?.rtp.highest ?? -1;
    const guess = before < 0 ? -1 : guessIndex(before, sequence);
    const wrapped = sequence < EARLY_WRAP ? sequence + CYCLE : -1;
    let found = -1;
    for (let attempt = 0; attempt < 3 && found < 0; attempt++) {
      const index = attempt === 0 ? guess : attempt === 1 ? sequence : wrapped;
      const isNew = index >= 0 && (attempt === 0 || index !== guess);
      if (isNew && this.#openRtp(bytes, headerBytes, length, ssrc, index)) found = index;
    }
    if (found < 0) return FORGED;
    const source = this.#source(ssrc);
    if (source === null) return REPLAYED;
    source.rtp.note(found);
    return length;
  }

  rtcp(bytes: Uint8Array): number {
    const { tagBytes } = this.#rtcp;
    const length = bytes.length - tagBytes - INDEX_BYTES - this.#mki.length;
    if (length < RTCP_HEADER || bytes.length > MAX_PACKET_BYTES) return UNREADABLE;
    if (!this.#hasMki(bytes, this.#isAead ? 0 : tagBytes)) return FORGED;
    const indexAt = this.#isAead ? length + tagBytes : length;
    const word = u32(bytes, indexAt);
    // Nobody agreed on RTCP in clear (RFC 4568 6.3.2).
    if (word < ENCRYPTED) return FORGED;
    const index = word - ENCRYPTED;
    const ssrc = u32(bytes, 4);
    if (this.#sources.get(ssrc)?.rtcp.isFresh(index) === false) return REPLAYED;
    this.#trailerView.setUint32(0, word);
    const place = this.#placed(RTCP_HEADER, length, ssrc, index);
    const tagAt = this.#isAead ? length : bytes.length - tagBytes;
    if (!this.#rtcp.open(bytes, place, this.#trailer, tagAt)) return FORGED;
    const source = this.#source(ssrc);
    if (source === null) return REPLAYED;
    source.rtcp.note(index);
    return length;
  }

  #openRtp(
    bytes: Uint8Array,
    headerBytes: number,
    length: number,
    ssrc: number,
    index: number,
  ): boolean {
    this.#trailerView.setUint32(0, Math.floor(index / CYCLE));
    const place = this.#placed(headerBytes, length, ssrc, index);
    const tagAt = this.#isAead ? length : length + this.#mki.length;
    return this.#rtp.open(bytes, place, this.#trailer, tagAt);
  }

  /** Whether the packet is marked with our key's identifier, if that has one; `behind`: bytes after it. */
  #hasMki(bytes: Uint8Array, behind: number): boolean {
    const at = bytes.length - behind - this.#mki.length;
    for (let i = 0; i < this.#mki.length; i++) {
      if (bytes[at + i] !== this.#mki[i]) return false;
    }
    return true;
  }

  /** The books of a source that has just proved itself; null when there are too many. */
  #source(ssrc: number): Source | null {
    const known = this.#sources.get(ssrc);
    if (known !== undefined) return known;
    if (this.#sources.size >= MAX_SOURCES) return null;
    const source = { rtp: new ReplayWindow(), rtcp: new ReplayWindow() };
    this.#sources.set(ssrc, source);
    return source;
  }

  #placed(headerBytes: number, length: number, ssrc: number, index: number): PacketPlace {
    return fill(this.#place, headerBytes, length, ssrc, index);
  }
}

/** One object per direction: none is made per packet. */
function fill(
  place: MutablePlace,
  headerBytes: number,
  length: number,
  ssrc: number,
  index: number,
): PacketPlace {
  place.headerBytes = headerBytes;
  place.length = length;
  place.ssrc = ssrc;
  place.index = index;
  return place;
}

function cipherOf(key: SrtpKey, kind: 'rtp' | 'rtcp'): PacketCipher {
  const { isAead, tagBytes, rtcpTagBytes } = SUITE_FACTS[key.suite];
  const keys = sessionKeys(key, kind);
  if (isAead) return new GcmCipher(keys, kind);
  return new CounterModeCipher(keys, kind === 'rtp' ? tagBytes : rtcpTagBytes);
}

/** Fixed header, CSRCs and extension (RFC 3550 5.1, 5.3.1); -1 when they do not fit, or it is no RTP. */
function rtpHeaderBytes(bytes: Uint8Array, length: number): number {
  if (length < RTP_HEADER) return -1;
  const first = bytes[0] as number;
  if (first >> 6 !== 2) return -1;
  let header = RTP_HEADER + (first & 0x0f) * 4;
  if ((first & 0x10) !== 0) {
    if (header + 4 > length) return -1;
    header += 4 + u16(bytes, header + 2) * 4;
  }
  return header > length ? -1 : header;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function u32(bytes: Uint8Array, at: number): number {
  return ((u16(bytes, at) << 16) | u16(bytes, at + 2)) >>> 0;
}
