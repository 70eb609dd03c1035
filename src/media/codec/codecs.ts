/** How samples travel in RTP payloads: a codec with state has one encoder and one decoder per call, others have one for all. */
import { CODEC_FACTS } from '#lib/audio-codec.ts';
import { AppError } from '#lib/errors.ts';
import { decodeG711, encodeG711, G711, type G711Codec } from '#lib/g711.ts';
import { G722Decoder, G722Encoder } from './g722.ts';
import type { Codec } from '../types.ts';

/** Our voice on its way out. Samples are of 8 kHz; whatever the codec's own rate is, is its own affair. */
export type PayloadEncoder = {
  /** Of RTP time stamps. */
  readonly clockHz: number;
  /** Samples by which what is decoded is behind what is encoded. */
  readonly delay: number;
  /** How many of `samples` samples (whole 10 ms) one packet can hold; 0: none. */
  fit(samples: number): number;
  /** Encodes the first `samples` samples of `pcm`; returns the bytes written, 0 when nothing is to be sent (DTX). */
  encode(pcm: Int16Array, samples: number, payload: Uint8Array): number;
  free(): void;
};

/** The other side's voice. No payload makes it throw, and it never gives -32,768, which marks holes. */
export type PayloadDecoder = {
  /** Of RTP time stamps. */
  readonly clockHz: number;
  /** What it gives depends on what came before: packets must come in their order. */
  readonly hasState: boolean;
  /** Samples that the payload stands for; 0: malformed. */
  samplesIn(payload: DataView): number;
  /** Decodes into the start of `pcm`; returns how many samples, 0: malformed. */
  decode(payload: DataView, pcm: Int16Array): number;
  /** Gives up to `samples` lost samples that lie right before `next`, before `next` is decoded; returns how many. */
  recover(next: DataView, pcm: Int16Array, samples: number): number;
  /** Whether `recover` would find the real sound rather than make it up. */
  hasRedundancy(payload: DataView): boolean;
  /** The other side took this for silence: packets may now stay away (DTX). */
  isInactive(payload: DataView): boolean;
  free(): void;
};

/** A codec without state. */
export type PlainCodec = {
  readonly bytesPerSample: 1 | 2;
  /** Decodes the first `samples` samples of `payload` into the start of `pcm`. */
  readonly decode: (payload: DataView, pcm: Int16Array, samples: number) => void;
  /** Encodes the first `samples` samples of `pcm`, or all of it, into the start of `payload`. */
  readonly encode: (pcm: Int16Array, payload: Uint8Array, samples?: number) => void;
};

export const PAYLOAD_CODECS: Readonly<Record<'PCMA' | 'PCMU' | 'L16', PlainCodec>> = {
  PCMA: g711('PCMA'),
  PCMU: g711('PCMU'),
  L16: { bytesPerSample: 2, decode: decodeL16, encode: encodeL16 },
};

/** What is alike in codecs that know neither redundancy nor DTX, and hold nothing that must be given back. */
const WITHOUT_EXTRAS = {
  recover: () => 0,
  hasRedundancy: () => false,
  isInactive: () => false,
  free: nothing,
} as const;

/** Without state one will do for all calls: it is in the processor's cache when the next call uses it. */
const PLAIN_ENCODERS = {
  PCMA: plainEncoder('PCMA'),
  PCMU: plainEncoder('PCMU'),
  L16: plainEncoder('L16'),
} as const;

const PLAIN_DECODERS = {
  PCMA: plainDecoder('PCMA'),
  PCMU: plainDecoder('PCMU'),
  L16: plainDecoder('L16'),
} as const;

/** For a codec that needs no preparing. Errors: E_MEDIA for one that does, or that nobody knows. */
export function newEncoder(codec: Codec): PayloadEncoder {
  if (codec === 'G722') return g722Encoder();
  if (isPlain(codec)) return PLAIN_ENCODERS[codec];
  throw new AppError('E_MEDIA', `no codec ${String(codec)} here`);
}

/** As `newEncoder`. */
export function newDecoder(codec: Codec): PayloadDecoder {
  if (codec === 'G722') return g722Decoder();
  if (isPlain(codec)) return PLAIN_DECODERS[codec];
  throw new AppError('E_MEDIA', `no codec ${String(codec)} here`);
}

function isPlain(codec: Codec): codec is keyof typeof PAYLOAD_CODECS {
  return Object.hasOwn(PAYLOAD_CODECS, codec);
}

function plainEncoder(codec: keyof typeof PAYLOAD_CODECS): PayloadEncoder {
  const { bytesPerSample, encode } = PAYLOAD_CODECS[codec];
  return {
    clockHz: CODEC_FACTS[codec].clockHz,
    delay: 0,
    fit: (samples) => samples,
    encode: (pcm, samples, payload) => {
      encode(pcm, payload, samples);
      return samples * bytesPerSample;
    },
    free: nothing,
  };
}

function plainDecoder(codec: keyof typeof PAYLOAD_CODECS): PayloadDecoder {
  const { bytesPerSample, decode } = PAYLOAD_CODECS[codec];
  const samplesIn = (payload: DataView): number => Math.floor(payload.byteLength / bytesPerSample);
  return {
    clockHz: CODEC_FACTS[codec].clockHz,
    hasState: false,
    samplesIn,
    decode: (payload, pcm) => {
      const samples = samplesIn(payload);
      decode(payload, pcm, samples);
      return samples;
    },
    ...WITHOUT_EXTRAS,
  };
}

function g722Encoder(): PayloadEncoder {
  const coder = new G722Encoder();
  return {
    clockHz: CODEC_FACTS.G722.clockHz,
    delay: 0,
    fit: (samples) => samples,
    encode: (pcm, samples, payload) => {
      coder.encode(pcm, samples, payload);
      return samples;
    },
    free: nothing,
  };
}

function g722Decoder(): PayloadDecoder {
  const coder = new G722Decoder();
  return {
    clockHz: CODEC_FACTS.G722.clockHz,
    hasState: true,
    samplesIn: (payload) => payload.byteLength,
    decode: (payload, pcm) => {
      coder.decode(payload, pcm);
      return payload.byteLength;
    },
    ...WITHOUT_EXTRAS,
  };
}

function nothing(): void {}

function g711(name: G711Codec): PlainCodec {
  const tables = G711[name];
  return {
    bytesPerSample: 1,
    decode: (payload, pcm, samples) => decodeG711(tables, payload, pcm, samples),
    encode: (pcm, payload, samples) => encodeG711(tables, pcm, payload, samples),
  };
}

/** Network byte order. -32,768 becomes -32,767: no decoder of ours gives it, because it marks holes. */
function decodeL16(payload: DataView, pcm: Int16Array, samples: number): void {
  for (let i = 0; i < samples; i++) pcm[i] = Math.max(-32_767, payload.getInt16(i * 2));
}

function encodeL16(pcm: Int16Array, payload: Uint8Array, samples = pcm.length): void {
  for (let i = 0; i < samples; i++) {
    const sample = pcm[i] as number;
    payload[i * 2] = sample >> 8;
    payload[i * 2 + 1] = sample;
  }
}
