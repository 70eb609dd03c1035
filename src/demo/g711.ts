/** The caller's own G.711 (ITU-T G.711), table driven, so that a fault of the server's codec cannot hide in ours. */

export type G711Name = 'PCMU' | 'PCMA';

const MU_BIAS = 0x84;
const MU_CLIP = 32635;

function muLawByteToSample(byte: number): number {
  const value = ~byte & 0xff;
  const magnitude = (((value & 0x0f) << 3) + MU_BIAS) << ((value >> 4) & 7);
  return value & 0x80 ? MU_BIAS - magnitude : magnitude - MU_BIAS;
}

function aLawByteToSample(byte: number): number {
  const value = byte ^ 0x55;
  const segment = (value >> 4) & 7;
  const step = ((value & 0x0f) << 4) + 8;
  const magnitude = segment === 0 ? step : (step + 0x100) << (segment - 1);
  return value & 0x80 ? magnitude : -magnitude;
}

function sampleToMuLawByte(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), MU_CLIP) + MU_BIAS;
  const segment = 31 - Math.clz32(magnitude) - 7;
  return ~(sign | (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)) & 0xff;
}

function sampleToALawByte(sample: number): number {
  const sign = sample < 0 ? 0 : 0x80;
  const magnitude = Math.min(sample < 0 ? -sample - 1 : sample, 32767);
  const segment = magnitude < 256 ? 0 : 31 - Math.clz32(magnitude) - 7;
  const mantissa = segment === 0 ? magnitude >> 4 : (magnitude >> (segment + 3)) & 0x0f;
  return (sign | (segment << 4) | mantissa) ^ 0x55;
}

const DECODE: Record<G711Name, Int16Array> = {
  PCMU: Int16Array.from({ length: 256 }, (_, byte) => muLawByteToSample(byte)),
  PCMA: Int16Array.from({ length: 256 }, (_, byte) => aLawByteToSample(byte)),
};

/** Static RTP payload types of RFC 3551. */
export const PAYLOAD_TYPE: Record<G711Name, number> = { PCMU: 0, PCMA: 8 };

export function codecOfPayloadType(payloadType: number): G711Name | undefined {
  if (payloadType === 0) return 'PCMU';
  return payloadType === 8 ? 'PCMA' : undefined;
}

export function decodeG711(codec: G711Name, payload: Uint8Array): Int16Array {
  const table = DECODE[codec];
  return Int16Array.from(payload, (byte) => table[byte] ?? 0);
}

export function encodeG711(codec: G711Name, pcm: Int16Array): Uint8Array {
  const encode = codec === 'PCMU' ? sampleToMuLawByte : sampleToALawByte;
  return Uint8Array.from(pcm, encode);
}
