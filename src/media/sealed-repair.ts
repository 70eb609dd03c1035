/** Closes sealed recordings that a crash left open. */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { AppError, toAppError } from '#lib/errors.ts';
import {
  checkSealedHeader,
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  SealedAudio,
  sealedFileBytes,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { WAV_HEADER_BYTES, wavDurationMs } from '#lib/wav.ts';

const SEALED_CHUNK = SEALED_CHUNK_BYTES + SEALED_TAG_BYTES;
const READ_BYTES = 1 << 20;

export type RepairedRecording = {
  readonly durationMs: number;
  /** Of the WAV that a reader gets. */
  readonly bytes: number;
  /** Of the file, hex. */
  readonly sha256: string;
};

/** `open` of node:fs/promises; tests pass one whose disk is full. */
type OpenFile = (path: string, flags: string) => Promise<FileHandle>;

/**
 * Keeps every whole chunk up to the last that opens, drops what was torn behind it, and writes the end mark. No chunk is
 * sealed anew, so no nonce is used twice. Idempotent.
 * Errors: E_MEDIA when the file cannot be opened, is another recording or not sealed.
 */
export async function repairSealed(
  path: string,
  seal: RecordingSeal,
  openFile: OpenFile = open,
): Promise<RepairedRecording> {
  try {
    await using file = await openFile(path, 'r+');
    const audio = new SealedAudio(seal);
    const { size } = await file.stat();
    await checkHeader(file, size, audio, seal);
    const dataBytes = (await knownLength(file, size, audio)) ?? (await close(file, size, audio));
    const sha256 = await hashOf(file, sealedFileBytes(dataBytes));
    const bytes = WAV_HEADER_BYTES + dataBytes;
    return { durationMs: wavDurationMs(dataBytes), bytes, sha256 };
  } catch (error) {
    throw toAppError(error, 'E_MEDIA');
  }
}

/** A file that was torn within its header is a recording of nothing. */
async function checkHeader(
  file: FileHandle,
  size: number,
  audio: SealedAudio,
  seal: RecordingSeal,
): Promise<void> {
  const found = await readAt(file, 0, Math.min(size, SEALED_HEADER_BYTES));
  if (found.length === SEALED_HEADER_BYTES) return checkSealedHeader(found, seal.recordingId);
  if (!found.equals(audio.header.subarray(0, found.length))) {
    throw new AppError('E_MEDIA', 'not a sealed recording: the header is of another kind');
  }
  await writeAt(file, 0, audio.header);
}

/** Null when the file has no end that fits: it was left open. */
async function knownLength(
  file: FileHandle,
  size: number,
  audio: SealedAudio,
): Promise<number | null> {
  if (size < SEALED_HEADER_BYTES + SEALED_END_BYTES) return null;
  try {
    return audio.openEnd(await readAt(file, size - SEALED_END_BYTES, SEALED_END_BYTES), size);
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}

async function close(file: FileHandle, size: number, audio: SealedAudio): Promise<number> {
  let chunks = Math.max(0, Math.floor((size - SEALED_HEADER_BYTES) / SEALED_CHUNK));
  // After a loss of power whole blocks may be missing at the end, though the length says otherwise.
  while (chunks > 0 && !(await opens(file, chunks - 1, audio))) chunks--;
  try {
    return await writeEnd(file, chunks, audio);
  } catch (error) {
    if (chunks === 0) throw error;
    // A full disk has room where the last chunk is.
    return writeEnd(file, chunks - 1, audio);
  }
}

async function writeEnd(file: FileHandle, chunks: number, audio: SealedAudio): Promise<number> {
  const dataBytes = chunks * SEALED_CHUNK_BYTES;
  const fileBytes = sealedFileBytes(dataBytes);
  await writeAt(file, fileBytes - SEALED_END_BYTES, audio.sealEnd(dataBytes));
  await file.truncate(fileBytes);
  await file.sync();
  return dataBytes;
}

async function opens(file: FileHandle, index: number, audio: SealedAudio): Promise<boolean> {
  const sealed = await readAt(file, sealedChunkOffset(index), SEALED_CHUNK);
  try {
    audio.openChunk(index, sealed);
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

async function hashOf(file: FileHandle, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes; at += READ_BYTES) {
    hash.update(await readAt(file, at, Math.min(READ_BYTES, bytes - at)));
  }
  return hash.digest('hex');
}

/** `length` bytes, or as many as there are. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

/** All of `bytes`: a disk that fills up takes a part of them before it refuses. */
async function writeAt(file: FileHandle, position: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
