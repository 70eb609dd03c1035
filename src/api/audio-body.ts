/** Speech as the body of a request: WAV, or bare samples whose rate the query tells. 16-bit PCM, mono. */
import { Type, type TUnsafe } from 'typebox';
import { invalid } from './problem.ts';
import type { ApiServer } from './routing.ts';

export const AUDIO_TYPES = ['audio/wav', 'audio/pcm'] as const;
/** Contract 1.6: audio uploads. */
export const AUDIO_BODY_BYTES = 25 * 1024 * 1024;

export type Speech = {
  /** 16-bit little-endian samples, mono: a view of the body. */
  readonly pcm: Uint8Array;
  readonly sampleRate: number;
  readonly durationMs: number;
};

/** For the document alone: bytes are not checked against a schema. */
export const AudioBody: TUnsafe<Buffer> = Type.Unsafe<Buffer>({
  type: 'string',
  format: 'binary',
  description: '16-bit PCM, mono',
});

const BYTES_PER_SAMPLE = 2;
const MAX_WAV_RATE = 48_000;
const MIN_WAV_RATE = 8_000;

/** In `scope`, bodies are audio and nothing else. */
export function acceptAudio(scope: ApiServer): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser<Buffer>(
    [...AUDIO_TYPES],
    { parseAs: 'buffer', bodyLimit: AUDIO_BODY_BYTES },
    async (_request: unknown, body: Buffer) => body,
  );
}

/** The speech in a body. Errors: VALIDATION_FAILED for another form, none at all, or more than `maxS` seconds. */
export function speechOf(
  body: unknown,
  contentType: string | undefined,
  sampleRate: number,
  maxS: number,
): Speech {
  if (!Buffer.isBuffer(body) || body.length === 0) throw invalid('', 'required');
  const isWav = contentType?.toLowerCase().startsWith('audio/wav') === true;
  const { pcm, rate } = isWav ? readWav(body) : { pcm: body, rate: sampleRate };
  if (pcm.length === 0 || pcm.length % BYTES_PER_SAMPLE !== 0) throw invalid('', 'audio');
  const durationMs = Math.round((pcm.length / BYTES_PER_SAMPLE / rate) * 1_000);
  if (durationMs > maxS * 1_000) throw invalid('', 'seconds', { limit: maxS });
  return { pcm, sampleRate: rate, durationMs };
}

const PCM = 1;
const EXTENSIBLE = 0xfffe;

type WavFormat = { readonly rate: number };

/** RIFF, chunk by chunk: `fmt ` before `data`, anything else passed over. */
function readWav(body: Buffer): { pcm: Uint8Array; rate: number } {
  if (body.length < 12 || tag(body, 0) !== 'RIFF' || tag(body, 8) !== 'WAVE') {
    throw invalid('', 'audio');
  }
  let format: WavFormat | null = null;
  for (let at = 12; at + 8 <= body.length;) {
    const name = tag(body, at);
    const start = at + 8;
    const size = body.readUInt32LE(at + 4);
    if (name === 'fmt ') format = readFormat(body.subarray(start, start + size));
    if (name === 'data') {
      if (format === null) break;
      // A program that writes as it records leaves a size of 0 or of all bits set: then all the rest is sound.
      const isOpen = size === 0 || size === 0xffffffff;
      const end = isOpen ? body.length - ((body.length - start) % BYTES_PER_SAMPLE) : start + size;
      if (end > body.length) break;
      return { pcm: body.subarray(start, end), rate: format.rate };
    }
    at = start + size + (size % 2);
  }
  throw invalid('', 'audio');
}

function readFormat(chunk: Buffer): WavFormat {
  if (chunk.length < 16) throw invalid('', 'audio');
  const kind = chunk.readUInt16LE(0);
  // The extensible form has the kind at the head of a GUID.
  const real = kind === EXTENSIBLE && chunk.length >= 26 ? chunk.readUInt16LE(24) : kind;
  const rate = chunk.readUInt32LE(4);
  const isUsable = real === PCM && chunk.readUInt16LE(2) === 1 && chunk.readUInt16LE(14) === 16;
  if (!isUsable || rate < MIN_WAV_RATE || rate > MAX_WAV_RATE) throw invalid('', 'audio');
  return { rate };
}

function tag(body: Buffer, at: number): string {
  return body.toString('latin1', at, at + 4);
}
