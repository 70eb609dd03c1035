/** Sound on its way to and from a realtime vendor: G.711 as it is on the line, or PCM at the vendor's rate. */
import { encodeG711, G711, type G711Codec } from '#lib/g711.ts';
import type { StreamResampler, StreamResampling } from '#lib/stream-resampler.ts';
import { Framer } from './frames.ts';
import { bytesOf, SAMPLE_RATE_HZ, samplesOf } from './rates.ts';

export type Coding = {
  readonly rateHz: number;
  readonly bytesPerSample: 1 | 2;
  /** The bytes are used again by the next call, whoever's it is. */
  encode(pcm: Int16Array): Buffer;
  /** Whole samples only. */
  decode(bytes: Uint8Array): Int16Array;
};

export function pcmCoding(rateHz: number): Coding {
  return {
    ...{ rateHz, bytesPerSample: 2 },
    encode(pcm) {
      const bytes = bytesOf(pcm);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: samplesOf,
  };
}

/** Bytes for what is encoded, by their length; shared by all calls, so that they stay in the processor's caches. */
const codes = new Map<number, Buffer>();
const MAX_CODES = 16;

/**
 * What was decoded from the line by the same table gives the line's own code again, and so in the other direction
 * (one exception: mu-law has two zeros, and 0x7f comes back as 0xff).
 */
export function g711Coding(codec: G711Codec): Coding {
  const tables = G711[codec];
  return {
    ...{ rateHz: SAMPLE_RATE_HZ, bytesPerSample: 1 },
    encode(pcm) {
      let into = codes.get(pcm.length);
      if (into === undefined) {
        into = Buffer.alloc(pcm.length);
        if (codes.size < MAX_CODES) codes.set(pcm.length, into);
      }
      encodeG711(tables, pcm, into);
      return into;
    },
    decode(bytes) {
      const pcm = new Int16Array(bytes.byteLength);
      const { decode } = tables;
      for (let i = 0; i < pcm.length; i++) pcm[i] = decode[bytes[i] as number] as number;
      return pcm;
    },
  };
}

/** Longer pieces are what is caught up with: they go in several messages. */
const MAX_PIECE_MS = 100;

/** The caller's sound, as the vendor wants it. */
export class CallerSound {
  readonly #resampler: StreamResampler | null;
  readonly #framer: Framer | null;
  readonly #maxPiece: number;

  /** `rateHz`: of the vendor; frames of `frameMs`, or pieces as they come (null). Errors: E_MEDIA. */
  constructor(resampling: StreamResampling, rateHz: number, frameMs: number | null) {
    const isSame = rateHz === SAMPLE_RATE_HZ;
    this.#resampler = isSame ? null : resampling.open(SAMPLE_RATE_HZ, rateHz);
    this.#framer = frameMs === null ? null : new Framer(rateHz, frameMs, this.#resampler);
    this.#maxPiece = (rateHz * MAX_PIECE_MS) / 1000;
  }

  /** `send` gets views that are used again. */
  push(pcm: Int16Array, send: (frame: Int16Array) => void): void {
    if (this.#framer !== null) return this.#framer.push(pcm, send);
    const samples = this.#resampler === null ? pcm : this.#resampler.convert(pcm);
    const max = this.#maxPiece;
    if (samples.length > max) {
      for (let at = 0; at < samples.length; at += max) send(samples.subarray(at, at + max));
    } else if (samples.length > 0) send(samples);
  }

  /** Idempotent. */
  close(): void {
    this.#resampler?.close();
  }
}

/** The filter holds back so much; silence behind the last sound drives it out. */
const TAIL_MS = 4;
const NONE = new Uint8Array(0);

/** The sound of the model's replies, at 8 kHz. Pieces may be cut anywhere, also inside a sample. */
export class ReplySound {
  readonly #resampling: StreamResampling;
  readonly #coding: Coding;
  #resampler: StreamResampler | null = null;
  #odd: Uint8Array = NONE;

  constructor(resampling: StreamResampling, coding: Coding) {
    this.#resampling = resampling;
    this.#coding = coding;
  }

  /** `ms`: what the vendor counts for the piece. */
  next(bytes: Uint8Array): { readonly pcm: Int16Array; readonly ms: number } {
    const { bytesPerSample, rateHz } = this.#coding;
    let whole = bytes;
    if (this.#odd.length > 0) whole = Buffer.concat([this.#odd, bytes]);
    const rest = whole.length % bytesPerSample;
    this.#odd = rest === 0 ? NONE : Uint8Array.from(whole.subarray(-rest));
    const samples = this.#coding.decode(
      rest === 0 ? whole : whole.subarray(0, whole.length - rest),
    );
    return { pcm: this.#to8k(samples), ms: (samples.length * 1000) / rateHz };
  }

  /** The reply is over: what the filter still holds. The next one begins anew. */
  end(): Int16Array {
    const resampler = this.#resampler;
    this.#odd = NONE;
    if (resampler === null) return new Int16Array(0);
    const tail = resampler.convert(new Int16Array((this.#coding.rateHz * TAIL_MS) / 1000));
    this.close();
    return tail;
  }

  /** Idempotent. */
  close(): void {
    this.#resampler?.close();
    this.#resampler = null;
  }

  #to8k(samples: Int16Array): Int16Array {
    if (this.#coding.rateHz === SAMPLE_RATE_HZ) return samples;
    this.#resampler ??= this.#resampling.open(this.#coding.rateHz, SAMPLE_RATE_HZ);
    return this.#resampler.convert(samples);
  }
}
