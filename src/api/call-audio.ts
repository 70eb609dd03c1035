/** Sound to be played into a call (contract 2.7): fetched from a URL or taken from a recording, and decoded. */
import { buffer } from 'node:stream/consumers';
import { toAppError } from '#lib/errors.ts';
import { guardedFetch, urlFault, type Reach } from '#lib/safe-fetch.ts';
import type { Caller } from './auth.ts';
import { maySee } from './auth.ts';
import type { RecordingFiles } from './ports.ts';
import { invalid, Problem } from './problem.ts';
import { findRecord, fromStore, type RecordSource } from './record-source.ts';

/**
 * Decodes WAV and MP3 to mono PCM at 8 kHz, beside the main thread. `fetch` is called when there is room for its file;
 * `owner` is who shares what room there is. `release`: nobody needs the sound any more. Idempotent.
 */
export type AudioFileReader = {
  load(
    owner: string,
    fetch: () => Promise<Uint8Array<ArrayBuffer>>,
  ): Promise<
    | { readonly ok: true; readonly pcm: Int16Array; readonly release: () => void }
    | { readonly ok: false; readonly fault: string; readonly found: string | null }
  >;
};

export type CallAudioPart = RecordSource & {
  readonly reach: Reach;
  readonly audioFiles: AudioFileReader;
  readonly recordings: Pick<RecordingFiles, 'open' | 'callOf'>;
};

export type SoundSource =
  | { readonly url: string; readonly recordingId?: undefined }
  | { readonly recordingId: string; readonly url?: undefined };

/** To be released once it is not played any more, or will not be. */
export type Sound = {
  readonly pcm: Int16Array;
  readonly title: string;
  readonly release: () => void;
};

const MAX_BYTES = 25 * 1024 * 1024;
const FETCH_MS = 10_000;
const MAX_TITLE_CHARS = 80;
const MAX_AUDIO_S = 3600;

/**
 * Errors: VALIDATION_FAILED, REFERENCE_NOT_FOUND, CALL_LIVE, RECORDING_EXPIRED, PROVIDER_REJECTED, PROVIDER_TIMEOUT,
 * OVERLOADED.
 */
export async function soundOf(
  part: CallAudioPart,
  caller: Caller,
  source: SoundSource,
): Promise<Sound> {
  const { accountId } = caller;
  const { url, recordingId } = source;
  if (url !== undefined) {
    const fault = urlFault(url, part.reach);
    if (fault !== null) throw invalid('/url', fault);
    const result = await part.audioFiles.load(accountId, () => download(part, url));
    return { ...loaded(result, '/url'), title: titleOf(url) };
  }
  const fetch = await recordingOf(part, caller, recordingId);
  const result = await part.audioFiles.load(accountId, fetch);
  return { ...loaded(result, '/recording_id'), title: `recording ${recordingId}` };
}

async function download(
  { reach, clock }: CallAudioPart,
  url: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const options = { ...reach, timeoutMs: FETCH_MS, maxBytes: MAX_BYTES, clock };
    const { status, body } = await guardedFetch(url, options);
    if (status === 200) return new Uint8Array(body);
    throw new Problem('PROVIDER_REJECTED', { vendorCode: String(status) });
  } catch (error) {
    throw problemOfFetch(error);
  }
}

function problemOfFetch(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  const error = toAppError(thrown);
  const { rule, reason } = error.details;
  const { code } = error;
  if (code === 'E_URL_NOT_ALLOWED')
    return invalid('/url', typeof rule === 'string' ? rule : 'public_host');
  if (code === 'E_TOO_LARGE') return invalid('/url', 'bytes', { limit: MAX_BYTES });
  if (code === 'E_TIMEOUT') return new Problem('PROVIDER_TIMEOUT', { cause: error });
  if (code !== 'E_UNREACHABLE') throw error;
  const vendorCode = typeof reason === 'string' ? reason : code;
  return new Problem('PROVIDER_REJECTED', { vendorCode, cause: error });
}

/** Of the caller's account, and of an agent that the caller may see: any other one does not exist for him. */
async function recordingOf(
  part: CallAudioPart,
  caller: Caller,
  id: string,
): Promise<() => Promise<Uint8Array<ArrayBuffer>>> {
  const unknown = new Problem('REFERENCE_NOT_FOUND', {
    faults: [{ path: '/recording_id', rule: 'exists' }],
  });
  const callId = await fromStore(part, part.recordings.callOf(caller.accountId, id));
  if (callId === null) throw unknown;
  if (caller.agentIds !== null) await refuseForeign(part, caller, callId, unknown);
  const file = await fromStore(part, part.recordings.open(caller.accountId, { id }));
  if (file === null) throw unknown;
  if (file.bytes > MAX_BYTES) throw invalid('/recording_id', 'bytes', { limit: MAX_BYTES });
  return async () => {
    const stream = file.read(0, file.bytes - 1);
    try {
      return new Uint8Array(await fromStore(part, buffer(stream)));
    } finally {
      stream.destroy();
    }
  };
}

async function refuseForeign(
  part: CallAudioPart,
  caller: Caller,
  callId: string,
  unknown: Problem,
): Promise<void> {
  try {
    const { agentId } = await findRecord(part, caller, callId);
    if (maySee(caller, agentId)) return;
  } catch (error) {
    if (!(error instanceof Problem && error.problem === 'NOT_FOUND')) throw error;
  }
  throw unknown;
}

function loaded(
  result: Awaited<ReturnType<AudioFileReader['load']>>,
  path: string,
): Pick<Sound, 'pcm' | 'release'> {
  if (result.ok) return result;
  const { fault, found } = result;
  if (fault === 'busy') throw new Problem('OVERLOADED');
  const params = { ...(found === null ? {} : { found }), limit: MAX_AUDIO_S };
  const rule = RULES[fault] ?? fault;
  throw invalid(path, rule, params);
}

/** Where another rule of this name exists already, for other kinds of input. */
const RULES: Readonly<Record<string, string>> = {
  format: 'sound',
  codec: 'sound_codec',
  channels: 'sound_channels',
};

/** The file's name, without what a query may hide. */
function titleOf(url: string): string {
  const { pathname, hostname } = new URL(url);
  const name = pathname.split('/').findLast((part) => part !== '') ?? hostname;
  return decode(name)
    .replaceAll(/[\p{Cc}[\]]/gu, '')
    .toWellFormed()
    .slice(0, MAX_TITLE_CHARS);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % is part of the name
  }
}
