/** Sound files as people have them (WAV, MP3), as mono PCM at 8 kHz. Heavy work: for a thread of its own. */
import { MPEGDecoder } from 'mpg123-decoder';
import { G711 } from '#lib/g711.ts';
import { loadStreamResampling, type StreamResampling } from '#lib/stream-resampler.ts';
import { decodeOggRecording } from '../recording/ogg-decode.ts';
import { SAMPLE_RATE_HZ } from '../types.ts';

/** `format`: neither WAV nor MP3, or damaged; `codec`: a WAV of a kind that is not read; `seconds`: too long. */
export type AudioFileFault =
  | 'format'
  | 'codec'
  | 'channels'
  | 'sample_rate'
  | 'empty'
  | 'seconds'
  | 'busy';

export type AudioFileResult =
  | { readonly ok: true; readonly pcm: Int16Array }
  /** `found`: what the file holds instead, where that is known. */
  | { readonly ok: false; readonly fault: AudioFileFault; readonly found: string | null };

/** What a call may have in memory: an hour at 8 kHz is 58 MB. */
export const MAX_AUDIO_S = 3600;
const MIN_RATE_HZ = 4000;
const MAX_RATE_HZ = 192_000;
const MAX_CHANNELS = 8;
const CHUNK_FRAMES = 65_536;
const MP3_CHUNK_BYTES = 32_768;

const PCM = 1;
const FLOAT = 3;
const A_LAW = 6;
const MU_LAW = 7;
const EXTENSIBLE = 0xfffe;
const CODECS: Readonly<Record<number, string>> = {
  2: 'MS ADPCM',
  0x11: 'IMA ADPCM',
  0x31: 'GSM 6.10',
  0x55: 'MP3 in WAV',
};

/** Never throws for what is in the file. */
export async function decodeAudioFile(bytes: Uint8Array): Promise<AudioFileResult> {
  const resampling = await loadStreamResampling();
  if (tagAt(bytes, 0) === 'RIFF' && tagAt(bytes, 8) === 'WAVE') return readWav(bytes, resampling);
  if (tagAt(bytes, 0) === 'OggS') return readOgg(bytes);
  if (looksLikeMp3(bytes)) return readMp3(bytes, resampling);
  return refuse('format');
}

/** Recordings of ours; other sounds in Ogg are of a codec, or a kind of it, that is not read. */
async function readOgg(bytes: Uint8Array): Promise<AudioFileResult> {
  const pcm = await decodeOggRecording(bytes, MAX_AUDIO_S * SAMPLE_RATE_HZ);
  if (pcm === null) return refuse('codec', 'Ogg');
  if (pcm === 'tooLong') return refuse('seconds');
  return pcm.length === 0 ? refuse('empty') : { ok: true, pcm };
}

/** Collects mono PCM at 8 kHz from chunks at another rate. */
class Collector {
  readonly #parts: Int16Array[] = [];
  readonly #stream: ReturnType<StreamResampling['open']>;
  #samples = 0;

  constructor(resampling: StreamResampling, fromHz: number) {
    this.#stream = resampling.open(fromHz, SAMPLE_RATE_HZ);
  }

  /** False when it is too long. */
  add(mono: Int16Array): boolean {
    const part = this.#stream.convert(mono);
    this.#parts.push(part);
    this.#samples += part.length;
    return this.#samples <= MAX_AUDIO_S * SAMPLE_RATE_HZ;
  }

  /** In memory of its own, to be handed over. */
  end(): AudioFileResult {
    if (this.#samples === 0) return refuse('empty');
    const pcm = new Int16Array(this.#samples);
    let at = 0;
    for (const part of this.#parts) {
      pcm.set(part, at);
      at += part.length;
    }
    return { ok: true, pcm };
  }

  close(): void {
    this.#stream.close();
  }
}

// ---- WAV ----

type Format = {
  readonly codec: number;
  readonly channels: number;
  readonly rateHz: number;
  readonly bits: number;
};

/** A damaged length, or a stream that left it open, counts as "to the end of the file". */
function readWav(bytes: Uint8Array, resampling: StreamResampling): AudioFileResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: Format | null = null;
  for (let at = 12; at + 8 <= bytes.length;) {
    const tag = tagAt(bytes, at);
    const length = view.getUint32(at + 4, true);
    const start = at + 8;
    if (tag === 'fmt ') format = formatAt(view, start, length);
    if (tag === 'data') {
      if (format === null) return refuse('format');
      const isOpen = length === 0 || length > bytes.length - start;
      const end = isOpen ? bytes.length : start + length;
      return samplesOf(new DataView(view.buffer, view.byteOffset + start, end - start), {
        format,
        resampling,
      });
    }
    at = start + length + (length % 2);
  }
  return refuse('format');
}

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

function samplesOf(
  data: DataView,
  { format, resampling }: { readonly format: Format; readonly resampling: StreamResampling },
): AudioFileResult {
  const { codec, channels, rateHz, bits } = format;
  const read = sampleReader(codec, bits);
  if (read === null) return refuse('codec', CODECS[codec] ?? `format ${codec}, ${bits} bits`);
  if (channels < 1 || channels > MAX_CHANNELS) return refuse('channels', String(channels));
  if (rateHz < MIN_RATE_HZ || rateHz > MAX_RATE_HZ) return refuse('sample_rate', String(rateHz));
  const sampleBytes = bits / 8;
  const frames = Math.floor(data.byteLength / (sampleBytes * channels));
  const collector = new Collector(resampling, rateHz);
  try {
    for (let from = 0; from < frames; from += CHUNK_FRAMES) {
      const mono = new Int16Array(Math.min(CHUNK_FRAMES, frames - from));
      for (let i = 0; i < mono.length; i++) {
        let sum = 0;
        const at = (from + i) * channels * sampleBytes;
        for (let channel = 0; channel < channels; channel++)
          sum += read(data, at + channel * sampleBytes);
        mono[i] = clamp(sum / channels);
      }
      if (!collector.add(mono)) return refuse('seconds');
    }
    return collector.end();
  } finally {
    collector.close();
  }
}

/** One sample as -32768..32767; null for a kind that is not read. */
function sampleReader(
  codec: number,
  bits: number,
): ((data: DataView, at: number) => number) | null {
  if (codec === A_LAW && bits === 8) return (data, at) => G711.PCMA.decode[data.getUint8(at)] ?? 0;
  if (codec === MU_LAW && bits === 8) return (data, at) => G711.PCMU.decode[data.getUint8(at)] ?? 0;
  if (codec === FLOAT && bits === 32) return (data, at) => data.getFloat32(at, true) * 32_768;
  if (codec === FLOAT && bits === 64) return (data, at) => data.getFloat64(at, true) * 32_768;
  if (codec !== PCM) return null;
  switch (bits) {
    case 8: // unsigned, as WAV has it
      return (data, at) => (data.getUint8(at) - 128) * 256;
    case 16:
      return (data, at) => data.getInt16(at, true);
    case 24:
      return (data, at) => data.getInt16(at + 1, true) + data.getUint8(at) / 256;
    case 32:
      return (data, at) => data.getInt32(at, true) / 65_536;
    default:
      return null;
  }
}

// ---- MP3 ----

/** An ID3 tag, or the sync of an MPEG frame with a layer, a bit rate and a sampling rate that exist. */
function looksLikeMp3(bytes: Uint8Array): boolean {
  if (tagAt(bytes, 0).startsWith('ID3')) return true;
  const [first = 0, second = 0, third = 0] = bytes;
  const hasSync = first === 0xff && (second & 0xe0) === 0xe0 && (second & 0x18) !== 0x08;
  return hasSync && (second & 0x06) !== 0 && third >> 4 !== 0x0f && (third & 0x0c) !== 0x0c;
}

async function readMp3(bytes: Uint8Array, resampling: StreamResampling): Promise<AudioFileResult> {
  const decoder = new MPEGDecoder();
  await decoder.ready;
  let collector: Collector | null = null;
  let rateHz = 0;
  try {
    for (let at = 0; at < bytes.length; at += MP3_CHUNK_BYTES) {
      const { channelData, samplesDecoded, sampleRate } = decoder.decode(
        bytes.subarray(at, at + MP3_CHUNK_BYTES),
      );
      if (samplesDecoded === 0) continue;
      // A change of the rate in mid-file is damage, or two files stuck together.
      if (collector !== null && sampleRate !== rateHz) return refuse('format');
      rateHz = sampleRate;
      collector ??= new Collector(resampling, sampleRate);
      if (!collector.add(monoOf(channelData, samplesDecoded))) return refuse('seconds');
    }
    return collector?.end() ?? refuse('format');
  } finally {
    collector?.close();
    decoder.free();
  }
}

function monoOf(channels: readonly Float32Array[], samples: number): Int16Array {
  const mono = new Int16Array(samples);
  for (let i = 0; i < samples; i++) {
    let sum = 0;
    for (const channel of channels) sum += channel[i] ?? 0;
    mono[i] = clamp((sum / Math.max(1, channels.length)) * 32_768);
  }
  return mono;
}

function clamp(sample: number): number {
  // What is no number is silence.
  return Math.max(-32_768, Math.min(32_767, Math.round(sample))) || 0;
}

function tagAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

function refuse(fault: AudioFileFault, found: string | null = null): AudioFileResult {
  return { ok: false, fault, found };
}
