/** Any range of a sealed recording as the file it stands for, WAV or Ogg: opens only the chunks that hold it. */
import { AppError } from '#lib/errors.ts';
import {
  SEALED_CHUNK_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  type SealedAudio,
} from '#lib/sealed-audio.ts';
import { WAV_HEADER_BYTES, wavHeader } from '#lib/wav.ts';

/** Reads bytes `from` to `to` of the sealed file, both inclusive. */
export type ReadSealed = (from: number, to: number) => Promise<AsyncIterable<Uint8Array>>;

export type SealedSource = {
  readonly audio: SealedAudio;
  /** Bytes in the chunks, as the end of the file says. */
  readonly dataBytes: number;
  readonly read: ReadSealed;
};

/** Bytes of the file that readers get. */
export function openedBytes({
  audio,
  dataBytes,
}: Pick<SealedSource, 'audio' | 'dataBytes'>): number {
  return headerBytes(audio) + dataBytes;
}

/** Samples get the header that was not stored; Ogg is whole as it is. */
function headerBytes(audio: SealedAudio): number {
  return audio.format === 'wav' ? WAV_HEADER_BYTES : 0;
}

/**
 * Bytes `from` to `to` (both inclusive) of it. A chunk is passed on only when all of it has proved to be what was
 * sealed; at one that does not the iteration ends with E_MEDIA, and what lies behind it is never given.
 */
export async function* openedAudio(
  source: SealedSource,
  from: number,
  to: number,
): AsyncGenerator<Buffer, void, undefined> {
  const { audio, dataBytes } = source;
  const header = headerBytes(audio);
  if (from < header) {
    yield Buffer.from(wavHeader(dataBytes)).subarray(from, Math.min(to + 1, header));
  }
  const first = Math.max(0, from - header);
  const last = Math.min(to - header, dataBytes - 1);
  if (last < first) return;
  const lastChunk = Math.floor(last / SEALED_CHUNK_BYTES);
  let index = Math.floor(first / SEALED_CHUNK_BYTES);
  const end = sealedChunkOffset(lastChunk) + chunkBytes(lastChunk, dataBytes);
  const chunks = inPieces(await source.read(sealedChunkOffset(index), end - 1), () =>
    chunkBytes(index, dataBytes),
  );
  for await (const sealed of chunks) {
    const samples = audio.openChunk(index, sealed);
    const start = index * SEALED_CHUNK_BYTES;
    yield samples.subarray(Math.max(0, first - start), last - start + 1);
    index++;
  }
  if (index <= lastChunk) throw new AppError('E_MEDIA', 'a recording is damaged: it ends too soon');
}

/** Bytes of chunk `index` in the file. */
function chunkBytes(index: number, dataBytes: number): number {
  const samples = Math.min(SEALED_CHUNK_BYTES, dataBytes - index * SEALED_CHUNK_BYTES);
  return samples + SEALED_TAG_BYTES;
}

/** A stream cut into pieces of the size that `nextBytes` tells before each; a last one that is too short is left out. */
async function* inPieces(
  stream: AsyncIterable<Uint8Array>,
  nextBytes: () => number,
): AsyncGenerator<Buffer, void, undefined> {
  let piece = Buffer.allocUnsafe(Math.max(0, nextBytes()));
  let filled = 0;
  for await (const bytes of stream) {
    for (let done = 0; done < bytes.length;) {
      const part = Math.min(bytes.length - done, piece.length - filled);
      piece.set(bytes.subarray(done, done + part), filled);
      filled += part;
      done += part;
      if (filled < piece.length) continue;
      yield piece;
      if (nextBytes() <= SEALED_TAG_BYTES) return;
      piece = Buffer.allocUnsafe(nextBytes());
      filled = 0;
    }
  }
}
