/** G.711 A-law and mu-law by table: 8-bit codes to 16-bit samples and back (ITU-T G.711, tables 1 and 2). */

/** Decode: 256 samples, indexed by code. Encode: 65,536 codes, indexed by the sample as an unsigned 16-bit number. */
export type G711Tables = { readonly decode: Int16Array; readonly encode: Uint8Array };

const MU_BIAS = 132;
const MU_CLIP = 32_635;

export type G711Codec = 'PCMA' | 'PCMU';

export const G711: Readonly<Record<G711Codec, G711Tables>> = {
  PCMA: buildTables(decodeALaw, encodeALaw),
  PCMU: buildTables(decodeMuLaw, encodeMuLaw),
};

/** Decodes `length` codes from `codes[offset]` on into the start of `pcm`. */
export function decodeG711(
  tables: G711Tables,
  codes: DataView,
  pcm: Int16Array,
  length = codes.byteLength,
): void {
  for (let i = 0; i < length; i++) pcm[i] = tables.decode[codes.getUint8(i)] as number;
}

/** Encodes the first `length` samples of `pcm` into the start of `codes`. */
export function encodeG711(
  tables: G711Tables,
  pcm: Int16Array,
  codes: Uint8Array,
  length = pcm.length,
): void {
  for (let i = 0; i < length; i++) codes[i] = tables.encode[(pcm[i] as number) & 0xffff] as number;
}

function buildTables(
  decode: (code: number) => number,
  encode: (sample: number) => number,
): G711Tables {
  const tables = { decode: new Int16Array(256), encode: new Uint8Array(65_536) };
  for (let code = 0; code < 256; code++) tables.decode[code] = decode(code);
  for (let sample = -32_768; sample < 32_768; sample++) {
    tables.encode[sample & 0xffff] = encode(sample);
  }
  return tables;
}

/** Even bits are inverted on the line; a set sign bit means positive. */
function decodeALaw(code: number): number {
  const bits = code ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = bits & 15;
  const magnitude =
    exponent === 0 ? (mantissa << 4) + 8 : ((mantissa << 4) + 0x108) << (exponent - 1);
  return (bits & 0x80) === 0 ? -magnitude : magnitude;
}

function encodeALaw(sample: number): number {
  const magnitude = sample < 0 ? ~sample : sample;
  const sign = sample < 0 ? 0 : 0x80;
  if (magnitude < 256) return (sign | (magnitude >> 4)) ^ 0x55;
  const exponent = 31 - Math.clz32(magnitude) - 7;
  return (sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 15)) ^ 0x55;
}

/** All bits are inverted on the line; after inversion a set sign bit means negative. */
function decodeMuLaw(code: number): number {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 15) << 3) + MU_BIAS) << ((bits >> 4) & 7)) - MU_BIAS;
  return (bits & 0x80) === 0 ? magnitude : -magnitude;
}

function encodeMuLaw(sample: number): number {
  const magnitude = Math.min(Math.abs(sample), MU_CLIP) + MU_BIAS;
  const exponent = 31 - Math.clz32(magnitude) - 7;
  const sign = sample < 0 ? 0x80 : 0;
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 15)) & 0xff;
}
