/** Session keys of SRTP and SRTCP out of a master key (RFC 3711 4.3 with key derivation rate 0, RFC 6188, RFC 7714 11). */
import { createCipheriv } from 'node:crypto';
import type { SrtpKey, SrtpSuite } from '#lib/srtp-params.ts';

/** What one direction of one protocol works with. */
export type SessionKeys = {
  readonly encryption: Uint8Array;
  /** Empty for GCM, which authenticates by itself. */
  readonly authentication: Uint8Array;
  readonly salt: Uint8Array;
};

export type SuiteFacts = {
  readonly isAead: boolean;
  readonly keyBytes: number;
  readonly saltBytes: number;
  /** Of RTP; SRTCP keeps ten bytes with every HMAC suite (RFC 4568 6.2.2). */
  readonly tagBytes: number;
  readonly rtcpTagBytes: number;
};

export const SUITE_FACTS: Readonly<Record<SrtpSuite, SuiteFacts>> = {
  AES_CM_128_HMAC_SHA1_80: hmacSuite(10),
  AES_CM_128_HMAC_SHA1_32: hmacSuite(4),
  AEAD_AES_128_GCM: gcmSuite(16),
  AEAD_AES_256_GCM: gcmSuite(32),
};

const HMAC_KEY_BYTES = 20;
const MASTER_SALT_BYTES = 14;
const BLOCK_BYTES = 16;
/** Byte of the salt that the label is put upon: 48 bits of index lie below it. */
const LABEL_AT = 7;
const LABELS = { rtp: [0, 1, 2], rtcp: [3, 4, 5] } as const;

/** Errors: a plain Error for a key or salt of the wrong length, which offer and answer never let through. */
export function sessionKeys(master: SrtpKey, kind: 'rtp' | 'rtcp'): SessionKeys {
  const { isAead, keyBytes, saltBytes } = SUITE_FACTS[master.suite];
  if (master.key.length !== keyBytes || master.salt.length !== saltBytes) {
    throw new Error(`a key of ${master.suite} has the wrong length`);
  }
  const [encryption, authentication, salt] = LABELS[kind];
  return {
    encryption: derive(master, encryption, keyBytes),
    authentication: isAead ? new Uint8Array(0) : derive(master, authentication, HMAC_KEY_BYTES),
    salt: derive(master, salt, saltBytes),
  };
}

/** AES in counter mode, begun at the salt with the label in it; a short salt is filled up on the right (RFC 7714 11). */
function derive({ key, salt }: SrtpKey, label: number, length: number): Uint8Array {
  const counter = new Uint8Array(BLOCK_BYTES);
  counter.set(salt.subarray(0, MASTER_SALT_BYTES));
  counter[LABEL_AT] = (counter[LABEL_AT] as number) ^ label;
  const cipher = createCipheriv(key.length === 32 ? 'aes-256-ctr' : 'aes-128-ctr', key, counter);
  return new Uint8Array(cipher.update(new Uint8Array(length)));
}

function hmacSuite(tagBytes: number): SuiteFacts {
  return { isAead: false, keyBytes: 16, saltBytes: 14, tagBytes, rtcpTagBytes: 10 };
}

function gcmSuite(keyBytes: number): SuiteFacts {
  return { isAead: true, keyBytes, saltBytes: 12, tagBytes: 16, rtcpTagBytes: 16 };
}
