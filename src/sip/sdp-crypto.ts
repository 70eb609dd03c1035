/** Keys of SRTP in a session description (RFC 4568): `a=crypto` read strictly, written, made. */
import { randomBytes } from 'node:crypto';
import type { SrtpKey, SrtpSuite } from '#lib/srtp-params.ts';

/** One usable `a=crypto` line. */
export type CryptoLine = { readonly tag: number; readonly key: SrtpKey };

/** Key and salt in bytes. */
const SUITES: Readonly<Record<SrtpSuite, readonly [key: number, salt: number]>> = {
  AES_CM_128_HMAC_SHA1_80: [16, 14],
  AES_CM_128_HMAC_SHA1_32: [16, 14],
  AEAD_AES_128_GCM: [16, 12],
  AEAD_AES_256_GCM: [32, 12],
};

/** What every phone has, and what the better ones prefer; more lines would not fit into a datagram with the rest. */
export const OFFERED_SUITES: readonly SrtpSuite[] = ['AES_CM_128_HMAC_SHA1_80', 'AEAD_AES_128_GCM'];

/** RFC 3711 9.2: packets under one master key. */
const MAX_LIFETIME = 2 ** 48;
/** Of a key of ours: that of SRTCP; written only where an MKI has to stand behind it. */
const OWN_LIFETIME = '2^31';
/** Longer than any border controller makes it; RFC 4568 6.1 would allow 128. */
const MAX_MKI_BYTES = 4;
const MAX_LINES = 32;

/**
 * The lines that can be used, in the order of the other side's preference; `lines` are the values of `a=crypto`. What
 * cannot be read, a suite we do not speak, several keys, or a session parameter that must be understood and is not: such
 * a line does not count.
 */
export function readCryptos(lines: readonly string[]): CryptoLine[] {
  const usable: CryptoLine[] = [];
  const tags = new Set<string>();
  for (const line of lines.slice(0, MAX_LINES)) {
    const match = /^(0|[1-9]\d{0,8})[ \t]+(\S+)[ \t]+(\S+)((?:[ \t]+\S+)*)[ \t]*$/.exec(line);
    const [, tag = '', suite = '', params = '', session = ''] = match ?? [];
    if (match === null || tags.has(tag)) continue;
    tags.add(tag);
    if (!isSuite(suite) || !areKnown(session)) continue;
    const key = readKey(suite, params);
    if (key !== null) usable.push({ tag: Number(tag), key });
  }
  return usable;
}

/** `inline:` key and salt in base64, perhaps a lifetime, perhaps an MKI (RFC 4568 6.1). */
function readKey(suite: SrtpSuite, params: string): SrtpKey | null {
  const match = /^inline:([A-Za-z0-9+/]+)(={0,2})(\|[^|:]*)?(\|[^|]*:[^|]*)?$/i.exec(params);
  if (match === null || !isLifetime(match[3]?.slice(1))) return null;
  const mki = match[4] === undefined ? null : readMki(match[4].slice(1));
  if (mki === null && match[4] !== undefined) return null;
  const bytes = Buffer.from(match[1] ?? '', 'base64');
  const [keyBytes, saltBytes] = SUITES[suite];
  if (bytes.length !== keyBytes + saltBytes) return null;
  const padded = `${match[1]}${match[2]}`;
  const canonical = bytes.toString('base64');
  // Some leave the padding out; anything else that differs is no base64 of these bytes.
  if (padded !== canonical && padded !== canonical.replace(/=+$/, '')) return null;
  return {
    suite,
    key: new Uint8Array(bytes.subarray(0, keyBytes)),
    salt: new Uint8Array(bytes.subarray(keyBytes)),
    ...(mki === null ? {} : { mki }),
  };
}

/** `value:length`: the number that stands in every packet, and in how many bytes. */
function readMki(text: string): Uint8Array | null {
  const match = /^(\d{1,10}):(\d{1,3})$/.exec(text);
  const [value, length] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || length < 1 || length > MAX_MKI_BYTES || value >= 256 ** length) return null;
  return Uint8Array.from({ length }, (_, i) => Math.floor(value / 256 ** (length - 1 - i)) % 256);
}

function mkiText(mki: Uint8Array): string {
  const value = mki.reduce((sum, byte) => sum * 256 + byte, 0);
  return `|${OWN_LIFETIME}|${value}:${mki.length}`;
}

function isLifetime(text: string | undefined): boolean {
  if (text === undefined) return true;
  const match = /^(2\^)?(\d{1,15})$/.exec(text);
  if (match === null) return false;
  const packets = match[1] === undefined ? Number(match[2]) : 2 ** Number(match[2]);
  return packets >= 1 && packets <= MAX_LIFETIME;
}

/** RFC 4568 6.3: a window hint asks for nothing; what begins with `-` may be ignored; all else changes the packets. */
function areKnown(session: string): boolean {
  const params = session.split(/[ \t]+/).filter((each) => each !== '');
  return params.every((each) => each.startsWith('-') || /^WSH=\d{2,9}$/.test(each));
}

function isSuite(name: string): name is SrtpSuite {
  return Object.hasOwn(SUITES, name);
}

/** A fresh key. */
export function newKey(suite: SrtpSuite): SrtpKey {
  const [key, salt] = SUITES[suite];
  return {
    suite,
    key: new Uint8Array(randomBytes(key)),
    salt: new Uint8Array(randomBytes(salt)),
  };
}

/** The line as the writer of the description takes it. */
export function writeCrypto({ tag, key }: CryptoLine): {
  id: number;
  suite: string;
  config: string;
} {
  const bytes = Buffer.concat([key.key, key.salt]);
  const tail = key.mki === undefined ? '' : mkiText(key.mki);
  return { id: tag, suite: key.suite, config: `inline:${bytes.toString('base64')}${tail}` };
}
