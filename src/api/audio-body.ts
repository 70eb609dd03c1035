/** Speech as the body of a request: WAV, or bare samples whose rate the query tells. 16-bit PCM, mono. */
import { Type, type TUnsafe } from 'typebox';
import { readPcm, readWav, type WavAudio } from '#lib/wav-read.ts';
import { whenClosed } from './closed-reply.ts';
import { invalid, Problem } from './problem.ts';
import type { ApiServer } from './routing.ts';

export const AUDIO_TYPES = ['audio/wav', 'audio/pcm'] as const;
/** Contract 1.6: audio uploads. */
export const AUDIO_BODY_BYTES = 25 * 1024 * 1024;

export type Speech = {
  /** Mono. */
  readonly pcm: Int16Array;
  readonly sampleRate: number;
  readonly durationMs: number;
};

/** For the document alone: bytes are not checked against a schema. */
export const AudioBody: TUnsafe<Buffer> = Type.Unsafe<Buffer>({
  type: 'string',
  format: 'binary',
  description: '16-bit PCM, mono',
});

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

/** Each may hold its 25 MiB, and the samples in it once more. */
const MAX_UPLOADS = 16;

/** More uploads at one time than memory is meant for are refused before their bodies are read. Errors: OVERLOADED. */
export function boundUploads(scope: ApiServer): void {
  let uploads = 0;
  scope.addHook('onRequest', async (request, reply) => {
    if (uploads >= MAX_UPLOADS) throw new Problem('OVERLOADED');
    uploads++;
    let isIn = true;
    const end = (): void => {
      if (isIn) uploads--;
      isIn = false;
    };
    request.uploadEnded = end;
    // Also when the client leaves.
    whenClosed(reply, end);
  });
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
  const { pcm, rateHz } = isWav ? wavOf(body) : { pcm: wholePcm(body), rateHz: sampleRate };
  const durationMs = Math.round((pcm.length * 1_000) / rateHz);
  if (durationMs > maxS * 1_000) throw invalid('', 'seconds', { limit: maxS });
  return { pcm, sampleRate: rateHz, durationMs };
}

/** The vendor takes one channel at a rate of speech; elsewhere other recordings are taken too. */
function wavOf(body: Buffer): Pick<WavAudio, 'pcm' | 'rateHz'> {
  const read = readWav(body);
  if (!read.ok || read.channels !== 1) throw invalid('', 'audio');
  if (read.rateHz < MIN_WAV_RATE || read.rateHz > MAX_WAV_RATE) throw invalid('', 'audio');
  return read;
}

function wholePcm(body: Buffer): Int16Array {
  if (body.length % 2 !== 0) throw invalid('', 'audio');
  return readPcm(body);
}
