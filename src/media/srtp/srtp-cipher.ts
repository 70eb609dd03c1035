/**
 * The transforms of SRTP on one packet. A packet lies in a buffer with room behind it; `seal` encrypts it there and puts
 * the tag after it, `open` checks the tag and only then decrypts in place. Counter mode runs on one cipher object per key,
 * and HMAC on two one-shot hashes given as text: less than half of what the plain calls cost, and little garbage.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hash,
  type Cipheriv,
  type KeyObject,
} from 'node:crypto';
import type { SessionKeys } from './srtp-keys.ts';

/** A packet as a transform sees it. */
export type PacketPlace = {
  /** Header bytes, which stay readable. */
  readonly headerBytes: number;
  /** Header and payload, without tag and index. */
  readonly length: number;
  readonly ssrc: number;
  /** 48 bits for RTP, 31 for RTCP. */
  readonly index: number;
};

export type PacketCipher = {
  /** Bytes that `seal` puts behind the packet. */
  readonly tagBytes: number;
  /** `trailer`: bytes that are authenticated with the packet; for HMAC the roll-over counter or the SRTCP index. */
  seal(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array): void;
  /** False, and nothing changed, unless the tag at `tagAt` is right. */
  open(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array, tagAt: number): boolean;
};

const BLOCK = 16;
const SHA1_BLOCK = 64;
const SHA1_BYTES = 20;
/** No packet is longer than this (an Ethernet frame, and some). */
export const MAX_PACKET_BYTES = 2048;

/** AES in counter mode with HMAC-SHA1 (RFC 3711 4.1.1, 4.2.1). */
export class CounterModeCipher implements PacketCipher {
  readonly tagBytes: number;
  readonly #aes: Cipheriv;
  readonly #salt: Uint8Array;
  readonly #counters = new Uint8Array(MAX_PACKET_BYTES + BLOCK);
  readonly #view = new DataView(this.#counters.buffer);
  /** Inner padding, packet, trailer; and outer padding, inner hash. */
  readonly #inner = new Uint8Array(SHA1_BLOCK + MAX_PACKET_BYTES + 8);
  readonly #outer = new Uint8Array(SHA1_BLOCK + SHA1_BYTES);

  constructor({ encryption, authentication, salt }: SessionKeys, tagBytes: number) {
    this.tagBytes = tagBytes;
    // One block at a time gives the key stream of any counter: no cipher object per packet.
    this.#aes = createCipheriv('aes-128-ecb', encryption, null).setAutoPadding(false);
    this.#salt = salt;
    for (let i = 0; i < SHA1_BLOCK; i++) {
      const byte = authentication[i] ?? 0;
      this.#inner[i] = byte ^ 0x36;
      this.#outer[i] = byte ^ 0x5c;
    }
  }

  seal(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array): void {
    this.#crypt(bytes, place);
    const tag = this.#tag(bytes, place.length, trailer);
    for (let i = 0; i < this.tagBytes; i++) bytes[place.length + i] = tag.charCodeAt(i);
  }

  open(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array, tagAt: number): boolean {
    const tag = this.#tag(bytes, place.length, trailer);
    let difference = 0;
    // All bytes, always: how long it takes says nothing about where they differ.
    for (let i = 0; i < this.tagBytes; i++) {
      difference |= (bytes[tagAt + i] as number) ^ tag.charCodeAt(i);
    }
    if (difference !== 0) return false;
    this.#crypt(bytes, place);
    return true;
  }

  /** RFC 2104, of packet and trailer: a byte per character, as a Buffer would cost more than the hash. */
  #tag(bytes: Uint8Array, length: number, trailer: Uint8Array): string {
    const inner = this.#inner;
    for (let i = 0; i < length; i++) inner[SHA1_BLOCK + i] = bytes[i] as number;
    inner.set(trailer, SHA1_BLOCK + length);
    const end = SHA1_BLOCK + length + trailer.length;
    const first = hash('sha1', inner.subarray(0, end), 'binary');
    for (let i = 0; i < SHA1_BYTES; i++) this.#outer[SHA1_BLOCK + i] = first.charCodeAt(i);
    return hash('sha1', this.#outer, 'binary');
  }

  #crypt(bytes: Uint8Array, { headerBytes, length, ssrc, index }: PacketPlace): void {
    const blocks = Math.ceil((length - headerBytes) / BLOCK);
    if (blocks === 0) return;
    this.#fillCounters(blocks, ssrc, index);
    const stream = this.#aes.update(this.#counters.subarray(0, blocks * BLOCK));
    for (let i = headerBytes, j = 0; i < length; i++, j++) {
      bytes[i] = (bytes[i] as number) ^ (stream[j] as number);
    }
  }

  /** IV = salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16; the last 16 bits count the blocks. */
  #fillCounters(blocks: number, ssrc: number, index: number): void {
    const counters = this.#counters;
    counters.set(this.#salt);
    this.#view.setUint32(4, this.#view.getUint32(4) ^ ssrc);
    this.#view.setUint16(8, this.#view.getUint16(8) ^ Math.floor(index / 2 ** 32));
    this.#view.setUint32(10, this.#view.getUint32(10) ^ (index % 2 ** 32));
    this.#view.setUint16(14, 0);
    for (let block = 1; block < blocks; block++) {
      counters.copyWithin(block * BLOCK, 0, BLOCK);
      this.#view.setUint16(block * BLOCK + 14, block);
    }
  }
}

const GCM_TAG = { authTagLength: 16 } as const;
const GCM_IV_BYTES = 12;

/** AES in Galois/counter mode (RFC 7714). The cipher object per packet is node:crypto's price. */
export class GcmCipher implements PacketCipher {
  readonly tagBytes = GCM_TAG.authTagLength;
  readonly #name: 'aes-128-gcm' | 'aes-256-gcm';
  readonly #key: KeyObject;
  readonly #salt: Uint8Array;
  readonly #iv = new Uint8Array(GCM_IV_BYTES);
  readonly #view = new DataView(this.#iv.buffer);
  readonly #hasTrailer: boolean;

  /** RTCP: the index word is authenticated with the header; RTP has its roll-over counter in the IV alone. */
  constructor({ encryption, salt }: SessionKeys, kind: 'rtp' | 'rtcp') {
    this.#name = encryption.length === 32 ? 'aes-256-gcm' : 'aes-128-gcm';
    this.#key = createSecretKey(encryption);
    this.#salt = salt;
    this.#hasTrailer = kind === 'rtcp';
  }

  seal(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array): void {
    const { headerBytes, length } = place;
    this.#fillIv(place);
    const cipher = createCipheriv(this.#name, this.#key, this.#iv, GCM_TAG);
    cipher.setAAD(this.#associated(bytes, headerBytes, trailer));
    bytes.set(cipher.update(bytes.subarray(headerBytes, length)), headerBytes);
    cipher.final();
    bytes.set(cipher.getAuthTag(), length);
  }

  open(bytes: Uint8Array, place: PacketPlace, trailer: Uint8Array, tagAt: number): boolean {
    const { headerBytes, length } = place;
    this.#fillIv(place);
    const decipher = createDecipheriv(this.#name, this.#key, this.#iv, GCM_TAG);
    decipher.setAAD(this.#associated(bytes, headerBytes, trailer));
    decipher.setAuthTag(bytes.subarray(tagAt, tagAt + this.tagBytes));
    const plain = decipher.update(bytes.subarray(headerBytes, length));
    try {
      decipher.final();
    } catch (error) {
      // The only way node:crypto has to say that the tag is wrong.
      if (error instanceof Error) return false;
      throw error;
    }
    bytes.set(plain, headerBytes);
    return true;
  }

  #associated(bytes: Uint8Array, headerBytes: number, trailer: Uint8Array): Uint8Array {
    const header = bytes.subarray(0, headerBytes);
    return this.#hasTrailer ? Buffer.concat([header, trailer]) : header;
  }

  /** Two zero bytes, SSRC and a 48-bit index, upon the salt (RFC 7714 8.1, 9.1). */
  #fillIv({ ssrc, index }: PacketPlace): void {
    this.#iv.set(this.#salt);
    this.#view.setUint32(2, this.#view.getUint32(2) ^ ssrc);
    this.#view.setUint16(6, this.#view.getUint16(6) ^ Math.floor(index / 2 ** 32));
    this.#view.setUint32(8, this.#view.getUint32(8) ^ (index % 2 ** 32));
  }
}
