/** Closes sealed recordings that a crash left open. */
import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { AppError, toAppError } from '#lib/errors.ts';
import { readOggPage } from '#lib/ogg.ts';
import { readOpusHead } from '#lib/ogg-opus.ts';
import {
  checkSealedHeader,
  SEALED_CHUNK_BYTES,
  SEALED_END_BYTES,
  SEALED_HEADER_BYTES,
  SEALED_TAG_BYTES,
  SEALED_TAIL_BYTES,
  sealedChunkCount,
  sealedChunkOffset,
  SealedAudio,
  sealedFileBytes,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { oggDurationMs } from './ogg-form.ts';
import { SamplesForm } from './recording-form.ts';

const SEALED_CHUNK = SEALED_CHUNK_BYTES + SEALED_TAG_BYTES;
const READ_BYTES = 1 << 20;

export type RepairedRecording = {
  readonly durationMs: number;
  /** Of the file that a reader gets. */
  readonly bytes: number;
  /** Of the file, hex. */
  readonly sha256: string;
};

/** `open` of node:fs/promises; tests pass one whose disk is full. */
type OpenFile = (path: string, flags: string) => Promise<FileHandle>;

/**
 * Keeps every whole chunk up to the last that opens, and of what is behind it the tail that was kept last, drops the rest,
 * and writes the end mark. No chunk is sealed anew, so no nonce is used twice. Idempotent.
 * Errors: E_MEDIA when the file cannot be opened, is another recording or not sealed.
 */
export async function repairSealed(
  path: string,
  seal: RecordingSeal,
  openFile: OpenFile = open,
): Promise<RepairedRecording> {
  try {
    await using file = await openFile(path, 'r+');
    const { size } = await file.stat();
    const audio = await openAudio(file, size, seal);
    const dataBytes = (await knownLength(file, size, audio)) ?? (await close(file, size, audio));
    const sha256 = await hashOf(file, sealedFileBytes(dataBytes));
    if (audio.format === 'ogg') {
      return { durationMs: await oggLength(file, dataBytes, audio), bytes: dataBytes, sha256 };
    }
    const form = new SamplesForm();
    return { durationMs: form.durationMs(dataBytes), bytes: form.readerBytes(dataBytes), sha256 };
  } catch (error) {
    throw toAppError(error, 'E_MEDIA');
  }
}

/** Of the format that the file has. One that was torn within its header is a recording of nothing. */
async function openAudio(
  file: FileHandle,
  size: number,
  seal: RecordingSeal,
): Promise<SealedAudio> {
  const found = await readAt(file, 0, Math.min(size, SEALED_HEADER_BYTES));
  if (found.length === SEALED_HEADER_BYTES) {
    return new SealedAudio({ ...seal, format: checkSealedHeader(found, seal.recordingId) });
  }
  const audio = new SealedAudio(seal);
  if (!found.equals(audio.header.subarray(0, found.length))) {
    throw new AppError('E_MEDIA', 'not a sealed recording: the header is of another kind');
  }
  await writeAt(file, 0, audio.header);
  return audio;
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
  const tail = await longestTail(file, chunks, audio);
  try {
    if (tail !== null) return await writeTail(file, chunks, tail);
    return await writeEnd(file, chunks, audio);
  } catch (error) {
    if (chunks === 0) throw error;
    // A full disk has room where the last chunk is.
    return writeEnd(file, chunks - 1, audio);
  }
}

type Tail = NonNullable<ReturnType<SealedAudio['tailAsChunk']>>;

/** What was kept of the chunk that never became whole: in its own place or the one behind it. */
async function longestTail(
  file: FileHandle,
  index: number,
  audio: SealedAudio,
): Promise<Tail | null> {
  let longest: Tail | null = null;
  for (const place of [index, index + 1]) {
    const most = SEALED_TAIL_BYTES + SEALED_CHUNK_BYTES;
    const found = await readAt(file, sealedChunkOffset(place), most);
    const tail = audio.tailAsChunk(index, found);
    if (tail !== null && tail.chunk.length > (longest?.chunk.length ?? 0)) longest = tail;
  }
  return longest;
}

async function writeTail(file: FileHandle, index: number, { chunk, end }: Tail): Promise<number> {
  const dataBytes = index * SEALED_CHUNK_BYTES + chunk.length - SEALED_TAG_BYTES;
  await writeAt(file, sealedChunkOffset(index), Buffer.concat([chunk, end]));
  await file.truncate(sealedFileBytes(dataBytes));
  await file.sync();
  return dataBytes;
}

/** By the last whole page, ms. No page lies across two chunks. */
async function oggLength(file: FileHandle, dataBytes: number, audio: SealedAudio): Promise<number> {
  const chunks = sealedChunkCount(dataBytes);
  if (chunks === 0) return 0;
  const chunkOf = async (index: number): Promise<Buffer> => {
    const bytes = Math.min(SEALED_CHUNK_BYTES, dataBytes - index * SEALED_CHUNK_BYTES);
    const sealed = await readAt(file, sealedChunkOffset(index), bytes + SEALED_TAG_BYTES);
    return audio.openChunk(index, sealed);
  };
  const first = readOggPage(await chunkOf(0), 0);
  const head = readOpusHead(first?.packets[0] ?? new Uint8Array(0));
  const last = await chunkOf(chunks - 1);
  let granule = 0;
  for (let page = readOggPage(last, 0); page !== null; page = readOggPage(last, page.end)) {
    granule = page.granule;
  }
  return oggDurationMs(granule, head?.preSkip ?? 0);
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
