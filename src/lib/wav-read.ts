/** WAV files as people upload them (RIFF, 16-bit PCM, mono or stereo), read into mono samples. */

export type WavFault = 'wav' | 'codec' | 'channels' | 'sample_rate' | 'empty';

export type WavAudio = {
  /** Mono. */
  readonly pcm: Int16Array;
  readonly rateHz: number;
  /** Of the file: 1, or 2 whose mean `pcm` is. */
  readonly channels: number;
};
export type WavResult =
  | ({ readonly ok: true } & WavAudio)
  /** `found` says what the file holds instead, where that is known. */
  | { readonly ok: false; readonly fault: WavFault; readonly found: string | null };

export const MIN_RATE_HZ = 4_000;
export const MAX_RATE_HZ = 192_000;
const PCM = 1;
const EXTENSIBLE = 0xfffe;

const CODECS: Readonly<Record<number, string>> = {
  2: 'MS ADPCM',
  3: 'IEEE float',
  6: 'A-law',
  7: 'mu-law',
  0x11: 'IMA ADPCM',
  0x31: 'GSM 6.10',
  0x55: 'MP3',
};

type Format = {
  readonly codec: number;
  readonly channels: number;
  readonly rateHz: number;
  readonly bits: number;
};

/** A damaged length, or a stream that left it open, counts as "to the end of the file"; stereo becomes the mean. */
export function readWav(bytes: Uint8Array): WavResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || tagAt(view, 0) !== 'RIFF' || tagAt(view, 8) !== 'WAVE') {
    return refuse('wav', null);
  }
  let format: Format | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const tag = tagAt(view, at);
    const length = view.getUint32(at + 4, true);
    const start = at + 8;
    if (tag === 'fmt ') format = formatAt(view, start, length);
    if (tag === 'data') {
      if (format === null) return refuse('wav', null);
      const isOpen = length === 0 || length > bytes.length - start;
      return samplesOf(bytes.subarray(start, isOpen ? undefined : start + length), format);
    }
    at = start + length + (length % 2);
  }
  return refuse('wav', null);
}

/** Raw 16-bit little-endian samples; an odd last byte is no sample. */
export function readPcm(bytes: Uint8Array): Int16Array {
  const even = bytes.length - (bytes.length % 2);
  // A copy, because the bytes may begin at an odd address; `slice` of a Buffer makes none.
  return new Int16Array(new Uint8Array(bytes.subarray(0, even)).buffer);
}

function samplesOf(data: Uint8Array, format: Format): WavResult {
  const { codec, channels, rateHz, bits } = format;
  if (codec !== PCM) return refuse('codec', CODECS[codec] ?? `format ${codec}`);
  if (bits !== 16) return refuse('codec', `${bits}-bit PCM`);
  if (channels !== 1 && channels !== 2) return refuse('channels', String(channels));
  if (rateHz < MIN_RATE_HZ || rateHz > MAX_RATE_HZ) return refuse('sample_rate', String(rateHz));
  const samples = readPcm(data);
  if (samples.length < channels) return refuse('empty', null);
  return { ok: true, pcm: channels === 1 ? samples : mono(samples), rateHz, channels };
}

function mono(stereo: Int16Array): Int16Array {
  const mixed = new Int16Array(stereo.length >> 1);
  for (let i = 0; i < mixed.length; i++) {
    mixed[i] = ((stereo[2 * i] as number) + (stereo[2 * i + 1] as number)) >> 1;
  }
  return mixed;
}

/** Null when the chunk is too short to say anything. */
function formatAt(view: DataView, at: number, length: number): Format | null {
  if (length < 16 || at + 16 > view.byteLength) return null;
  const codec = view.getUint16(at, true);
  const isExtensible = codec === EXTENSIBLE && length >= 26 && at + 26 <= view.byteLength;
  return {
    // The sub-format's first two bytes are the codec itself.
    codec: isExtensible ? view.getUint16(at + 24, true) : codec,
    channels: view.getUint16(at + 2, true),
    rateHz: view.getUint32(at + 4, true),
    bits: view.getUint16(at + 14, true),
  };
}

function tagAt(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((offset) => view.getUint8(at + offset)));
}

function refuse(fault: WavFault, found: string | null): WavResult {
  return { ok: false, fault, found };
}
