/** Base64 (RFC 4648, section 4) into bytes that are already there: no string is made for each frame of sound. */

const ALPHABET = Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  'latin1',
);
const PADDING = 0x3d;

/** How many characters `byteCount` bytes make, padding included. */
export function base64Length(byteCount: number): number {
  return Math.ceil(byteCount / 3) * 4;
}

/** Writes all of `bytes` to `into` from `at` on, which must have room for it; gives where it ends. */
export function writeBase64(bytes: Uint8Array, into: Uint8Array, at: number): number {
  const whole = bytes.length - (bytes.length % 3);
  let to = at;
  for (let i = 0; i < whole; i += 3) {
    const three =
      ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    into[to] = ALPHABET[three >> 18] as number;
    into[to + 1] = ALPHABET[(three >> 12) & 63] as number;
    into[to + 2] = ALPHABET[(three >> 6) & 63] as number;
    into[to + 3] = ALPHABET[three & 63] as number;
    to += 4;
  }
  if (whole === bytes.length) return to;
  const hasTwo = bytes.length - whole === 2;
  const rest = ((bytes[whole] as number) << 16) | (hasTwo ? (bytes[whole + 1] as number) << 8 : 0);
  into[to] = ALPHABET[rest >> 18] as number;
  into[to + 1] = ALPHABET[(rest >> 12) & 63] as number;
  into[to + 2] = hasTwo ? (ALPHABET[(rest >> 6) & 63] as number) : PADDING;
  into[to + 3] = PADDING;
  return to + 4;
}
