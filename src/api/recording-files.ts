/** Recordings as files to hear: on this machine's disk or in an object store, sealed or (of earlier versions) plain. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Actor } from '#lib/actor.ts';
import type { RecordingRow } from '#lib/call-record.ts';
import { AppError, systemCodeOf, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Id } from '#lib/ids.ts';
import { isStoredObject, type RecordingPlace } from '#lib/recording-place.ts';
import {
  looksSealed,
  checkSealedHeader,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SealedAudio,
} from '#lib/sealed-audio.ts';
import type { ObjectStorage } from '#store/object-storage.ts';
import type { HeardRecording, KeptRecording, Recordings } from '#store/recordings.ts';
import type { MendRecording } from '#store/recording-mending.ts';
import type { RecordingRemoval } from '#store/recording-removal.ts';
import type { RecordingFile, RecordingFiles } from './ports.ts';
import { Problem } from './problem.ts';
import { openedAudio, openedBytes, type ReadSealed } from './sealed-stream.ts';

export type RecordingFilesOptions = {
  readonly place: RecordingPlace;
  readonly recordings: Pick<Recordings, 'find' | 'callOf' | 'shred' | 'markRemoved' | 'noteHeard'>;
  readonly removal: Pick<RecordingRemoval, 'removeOrNote'>;
  /** Null: no bucket is configured. */
  readonly objects: ObjectStorage | null;
  readonly log: Log;
  /** Closes what its call left open; absent: nothing is. */
  readonly mend?: MendRecording;
};

/** The bytes of a file as it is, wherever it is. */
type RawFile = { readonly bytes: number; readonly read: ReadSealed };

export function createRecordingFiles(options: RecordingFilesOptions): RecordingFiles {
  const { recordings, removal, mend } = options;
  return {
    async open(accountId, { id }) {
      const kept = await findKept(recordings, accountId, id);
      if (kept !== null && (await mend?.(accountId, kept)) === false)
        throw new Problem('CALL_LIVE'); // what the disk owes of it is still on its way
      const file = kept === null ? null : await openKept(options, kept);
      if (kept === null || file !== null) return file;
      // It has just moved to the bucket, or expired: its row says so by now.
      const moved = await findKept(recordings, accountId, id);
      return moved === null || moved.uri === kept.uri ? null : openKept(options, moved);
    },
    callOf: (accountId, recordingId) => recordings.callOf(accountId, recordingId),
    noteHeard: (actor: Actor, heard: HeardRecording) => recordings.noteHeard(actor, heard),
    async remove(accountId: Id, recording: RecordingRow) {
      // The key first: whatever happens to the file afterwards, nobody hears it again. With its row it is gone already.
      const [shredded] = await recordings.shred(accountId, recording.id);
      const isGone = await removal.removeOrNote(shredded?.uri ?? recording.uri);
      if (shredded !== undefined && isGone) await recordings.markRemoved([shredded.id]);
    },
  };
}

/** Errors: RECORDING_EXPIRED, CALL_LIVE. */
async function findKept(
  recordings: Pick<Recordings, 'find'>,
  accountId: Id,
  id: Id,
): Promise<KeptRecording | null> {
  const kept = await recordings.find(accountId, id);
  if (kept?.status === 'expired') throw new Problem('RECORDING_EXPIRED');
  if (kept?.status === 'active') throw new Problem('CALL_LIVE'); // its file is being written
  return kept;
}

/** Null when it is gone, also while its ends are being looked at. */
async function openKept(
  options: RecordingFilesOptions,
  kept: KeptRecording,
): Promise<RecordingFile | null> {
  const raw = await findFile(options, kept.uri);
  if (raw === null) return null;
  try {
    return kept.key === null
      ? await openPlain(raw, options.log, kept.id)
      : await openSealed(raw, options.log, kept);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function findFile(options: RecordingFilesOptions, uri: string): Promise<RawFile | null> {
  if (isStoredObject(uri)) {
    const { objects } = options;
    if (objects === null) throw new AppError('E_STORAGE', 'no bucket is configured');
    const bytes = await objects.size(uri);
    return bytes === null ? null : { bytes, read: (from, to) => objects.read(uri, from, to) };
  }
  const path = options.place.pathOf(uri) as string;
  try {
    const { size } = await stat(path);
    const read: ReadSealed = async (from, to) => {
      // Opened first, so that a file that is gone meanwhile rejects here and not within the stream.
      const file = await open(path);
      return createReadStream(path, { fd: file, start: from, end: to, highWaterMark: 65_536 });
    };
    return { bytes: size, read };
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw new AppError('E_MEDIA', 'a recording cannot be read', { cause: error });
  }
}

async function openPlain(raw: RawFile, log: Log, id: Id): Promise<RecordingFile | null> {
  // Without its key a sealed file is nothing but noise.
  if (raw.bytes === 0 || looksSealed(await bytesOf(raw, 0, Math.min(raw.bytes, 8)))) return null;
  const file = { format: 'wav', bytes: raw.bytes } as const;
  return fileOf(file, log, id, (from, to) => passOn(raw.read, from, to));
}

async function* passOn(read: ReadSealed, from: number, to: number) {
  yield* await read(from, to);
}

async function openSealed(raw: RawFile, log: Log, kept: KeptRecording): Promise<RecordingFile> {
  try {
    const format = checkSealedHeader(await bytesOf(raw, 0, SEALED_HEADER_BYTES), kept.id);
    const audio = new SealedAudio({ recordingId: kept.id, key: kept.key as Uint8Array, format });
    const end = await bytesOf(raw, raw.bytes - SEALED_END_BYTES, SEALED_END_BYTES);
    const dataBytes = audio.openEnd(end, raw.bytes);
    const source = { audio, dataBytes, read: raw.read };
    const file = { format, bytes: openedBytes(source) };
    return fileOf(file, log, kept.id, (from, to) => openedAudio(source, from, to));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') throw error;
    log.error('recording.damaged', { recordingId: kept.id, error: toAppError(error) });
    throw error;
  }
}

function fileOf(
  file: Pick<RecordingFile, 'format' | 'bytes'>,
  log: Log,
  recordingId: Id,
  read: (from: number, to: number) => AsyncIterable<Uint8Array>,
): RecordingFile {
  return {
    ...file,
    read(from, to) {
      const stream = Readable.from(read(from, to), { objectMode: false, highWaterMark: 65_536 });
      // The connection is cut: the client sees fewer bytes than were promised, and never wrong ones.
      stream.once('error', (error) => {
        log.error('recording.readFailed', { recordingId, error: toAppError(error) });
      });
      return stream;
    },
  };
}

async function bytesOf(raw: RawFile, from: number, count: number): Promise<Buffer> {
  if (from < 0 || from + count > raw.bytes) {
    throw new AppError('E_MEDIA', 'a recording is damaged: it is cut off');
  }
  const parts: Uint8Array[] = [];
  for await (const bytes of await raw.read(from, from + count - 1)) parts.push(bytes);
  return Buffer.concat(parts);
}
