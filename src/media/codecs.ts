/** How samples travel in RTP payloads: G.711, and 16-bit linear (RFC 3551 4.5.11) between our own threads. */
import { AppError } from '#lib/errors.ts';
import { decodeG711, encodeG711, G711, type G711Codec } from '#lib/g711.ts';
import type { Codec } from './types.ts';

export type PayloadCodec = {
  readonly bytesPerSample: 1 | 2;
  /** Decodes the first `samples` samples of `payload` into the start of `pcm`. */
  decode(payload: DataView, pcm: Int16Array, samples: number): void;
  /** Encodes all of `pcm` into the start of `payload`. */
  encode(pcm: Int16Array, payload: Uint8Array): void;
};

export const PAYLOAD_CODECS: Readonly<Record<'PCMA' | 'PCMU' | 'L16', PayloadCodec>> = {
  PCMA: g711('PCMA'),
  PCMU: g711('PCMU'),
  L16: { bytesPerSample: 2, decode: decodeL16, encode: encodeL16 },
};

/** Errors: E_MEDIA for a codec that the chain cannot speak. */
export function payloadCodec(codec: Codec): PayloadCodec {
  if (codec === 'PCMA' || codec === 'PCMU' || codec === 'L16') return PAYLOAD_CODECS[codec];
  throw new AppError('E_MEDIA', `no codec ${codec} here`);
}

function g711(name: G711Codec): PayloadCodec {
  const tables = G711[name];
  return {
    bytesPerSample: 1,
    decode: (payload, pcm, samples) => decodeG711(tables, payload, pcm, samples),
    encode: (pcm, payload) => encodeG711(tables, pcm, payload),
  };
}

/** Network byte order. -32,768 becomes -32,767: no decoder of ours gives it, because it marks holes. */
function decodeL16(payload: DataView, pcm: Int16Array, samples: number): void {
  for (let i = 0; i < samples; i++) pcm[i] = Math.max(-32_767, payload.getInt16(i * 2));
}

function encodeL16(pcm: Int16Array, payload: Uint8Array): void {
  for (let i = 0; i < pcm.length; i++) {
    const sample = pcm[i] as number;
    payload[i * 2] = sample >> 8;
    payload[i * 2 + 1] = sample;
  }
}
