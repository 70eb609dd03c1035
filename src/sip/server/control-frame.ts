/** Frames of the drachtio control protocol: decimal byte length, `#`, payload in UTF-8. */

/** As drachtio-server: five digits at most. */
const MAX_FRAME_BYTES = 99_999;
const HASH = 0x23;

/** Cuts frames out of a byte stream. After an error the connection is of no use any more. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);
  readonly #maxBytes: number;

  constructor(maxBytes = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Payloads that are complete now, or what is wrong with the stream. */
  push(
    chunk: Buffer,
  ): { readonly frames: Buffer[] } | { readonly frames: Buffer[]; readonly error: string } {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const frames: Buffer[] = [];
    for (;;) {
      const hash = this.#pending.subarray(0, 6).indexOf(HASH);
      if (hash < 0) {
        if (this.#pending.length > 5) return { frames, error: 'no length before the frame' };
        return { frames };
      }
      const digits = this.#pending.toString('latin1', 0, hash);
      const length = /^[0-9]{1,5}$/.test(digits) ? Number(digits) : 0;
      if (length < 1 || length > this.#maxBytes) {
        return { frames, error: 'the length of a frame is not a number from 1 to 99999' };
      }
      const end = hash + 1 + length;
      if (this.#pending.length < end) return { frames };
      frames.push(this.#pending.subarray(hash + 1, end));
      this.#pending = this.#pending.subarray(end);
    }
  }
}

/** One frame: the leader's tokens, then CRLF and the bytes of a SIP message where there is one. */
export function encodeFrame(tokens: readonly (string | number)[], message?: Buffer): Buffer {
  const leader = Buffer.from(tokens.join('|') + (message === undefined ? '' : '\r\n'));
  const length = leader.length + (message?.length ?? 0);
  const parts: Buffer[] = [Buffer.from(`${length}#`), leader];
  if (message !== undefined) parts.push(message);
  return Buffer.concat(parts);
}

/** The leader's tokens, and what follows its line. */
export function decodePayload(payload: Buffer): { tokens: string[]; rest: string } {
  const text = payload.toString('utf8');
  const end = text.indexOf('\r\n');
  const leader = end < 0 ? text : text.slice(0, end);
  return { tokens: leader.split('|'), rest: end < 0 ? '' : text.slice(end + 2) };
}

/** `HH:MM:SS.micro`, UTC. */
export function timeOf(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(11, 23)}000`;
}
