/** SRTP by SDES (RFC 4568): what a trunk wants, and the keys that offer and answer agreed on. */

/**
 * `off`: neither offered nor taken; `preferred`: offered beside plain RTP (RFC 8643) and taken when offered; `required`:
 * no call without it.
 */
export const SRTP_MODES = ['off', 'preferred', 'required'] as const;
export type SrtpMode = (typeof SRTP_MODES)[number];

export type SrtpSuite =
  | 'AES_CM_128_HMAC_SHA1_80'
  | 'AES_CM_128_HMAC_SHA1_32'
  | 'AEAD_AES_128_GCM'
  | 'AEAD_AES_256_GCM';

/** Master key and salt of one direction. Never logged, never in an event. */
export type SrtpKey = {
  readonly suite: SrtpSuite;
  /** 16 bytes, for AES-256 32. */
  readonly key: Uint8Array;
  /** 14 bytes, for GCM 12 (RFC 7714 12). */
  readonly salt: Uint8Array;
  /** Master key identifier, 1..4 bytes that each packet under this key carries (RFC 3711 3.1). Absent: none. */
  readonly mki?: Uint8Array;
};

/** The keys of a call: ours to send with, theirs to receive with. */
export type SrtpKeys = { readonly send: SrtpKey; readonly receive: SrtpKey };

/** `options.srtp` of a row. What is not a mode, written past the API, is taken as the strictest: never plain by mistake. */
export function srtpModeOf(value: unknown): SrtpMode {
  if (value === undefined || value === null) return 'off';
  return SRTP_MODES.find((mode) => mode === value) ?? 'required';
}
