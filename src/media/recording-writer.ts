/** The two forms a recording takes on disk: sealed (what calls use), or a plain WAV where nobody gave a key. */
import { createHash, type Hash } from 'node:crypto';
import {
  SEALED_CHUNK_BYTES,
  sealedChunkOffset,
  SealedAudio,
  sealedFileBytes,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import { WAV_HEADER_BYTES, wavHeader } from '#lib/wav.ts';

/** The part of a file handle that is used; tests bring their own. */
export type RecordingHandle = {
  /** Writes all of `bytes` at `position` or rejects. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
  /** Removes the file; comes after close(). */
  remove(): Promise<void>;
};

/** One write at a time; positions rise. */
export type RecordingWriter = {
  start(): Promise<void>;
  /** Samples for data position `position`. What lies between the last ones and these is silence. */
  write(samples: Uint8Array, position: number): Promise<void>;
  /** Leaves a file that can be read up to what could be written, also after a write that failed. */
  finish(): Promise<void>;
  /** Bytes of samples that a reader of the file will get. */
  readonly dataBytes: number;
  /** SHA-256 of the whole file, hex; null where none is made. Valid after finish(). */
  readonly sha256: string | null;
};

export function recordingWriter(
  handle: RecordingHandle,
  seal: RecordingSeal | null,
): RecordingWriter {
  return seal === null ? new PlainWriter(handle) : new SealedWriter(handle, seal);
}

class PlainWriter implements RecordingWriter {
  readonly sha256 = null;
  readonly #handle: RecordingHandle;
  #dataBytes = 0;

  constructor(handle: RecordingHandle) {
    this.#handle = handle;
  }

  get dataBytes(): number {
    return this.#dataBytes;
  }

  start(): Promise<void> {
    return this.#handle.write(wavHeader(0), 0);
  }

  async write(samples: Uint8Array, position: number): Promise<void> {
    await this.#handle.write(samples, WAV_HEADER_BYTES + position);
    this.#dataBytes = Math.max(this.#dataBytes, position + samples.length);
  }

  finish(): Promise<void> {
    return this.#handle.write(wavHeader(this.#dataBytes), 0);
  }
}

/**
 * Gathers samples into chunks, seals each once and appends it. A chunk is 2 s of call, so that is what a crash costs.
 * A chunk whose write failed is never sealed again with other content: its nonce is used up, and the file ends before.
 */
class SealedWriter implements RecordingWriter {
  readonly #handle: RecordingHandle;
  readonly #audio: SealedAudio;
  readonly #chunk = Buffer.alloc(SEALED_CHUNK_BYTES);
  #filled = 0;
  /** Chunks on disk, all full until the last one is written by finish(). */
  #written = 0;
  #writtenBytes = 0;
  #isBroken = false;
  #hash = createHash('sha256');
  /** As it was before the last chunk, for a file that has to give that one up. */
  #hashBefore: Hash = this.#hash;
  #sha256: string | null = null;

  constructor(handle: RecordingHandle, seal: RecordingSeal) {
    this.#handle = handle;
    this.#audio = new SealedAudio(seal);
  }

  get dataBytes(): number {
    return this.#writtenBytes;
  }

  get sha256(): string | null {
    return this.#sha256;
  }

  async start(): Promise<void> {
    await this.#handle.write(this.#audio.header, 0);
    this.#hash.update(this.#audio.header);
  }

  async write(samples: Uint8Array, position: number): Promise<void> {
    const end = this.#written * SEALED_CHUNK_BYTES + this.#filled;
    await this.#add(null, position - end);
    await this.#add(samples, samples.length);
  }

  async finish(): Promise<void> {
    if (!this.#isBroken && this.#filled > 0) {
      try {
        await this.#flush();
      } catch {
        // The disk is full by less than a chunk: the file ends before it, which the two lengths tell.
        this.#isBroken = true;
      }
    }
    try {
      await this.#close();
    } catch (error) {
      if (this.#written === 0) throw error;
      // A full disk has room where the last chunk is.
      this.#written--;
      this.#writtenBytes = this.#written * SEALED_CHUNK_BYTES;
      this.#hash = this.#hashBefore;
      await this.#close();
    }
  }

  async #add(samples: Uint8Array | null, count: number): Promise<void> {
    for (let done = 0; done < count;) {
      const part = Math.min(count - done, SEALED_CHUNK_BYTES - this.#filled);
      if (samples === null) this.#chunk.fill(0, this.#filled, this.#filled + part);
      else this.#chunk.set(samples.subarray(done, done + part), this.#filled);
      this.#filled += part;
      done += part;
      if (this.#filled === SEALED_CHUNK_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const sealed = this.#audio.sealChunk(this.#written, this.#chunk.subarray(0, this.#filled));
    try {
      await this.#handle.write(sealed, sealedChunkOffset(this.#written));
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
    this.#hashBefore = this.#hash.copy();
    this.#hash.update(sealed);
    this.#written++;
    this.#writtenBytes += this.#filled;
    this.#filled = 0;
  }

  async #close(): Promise<void> {
    const end = this.#audio.sealEnd(this.#writtenBytes);
    const fileBytes = sealedFileBytes(this.#writtenBytes);
    await this.#handle.write(end, fileBytes - end.length);
    await this.#handle.truncate(fileBytes);
    this.#sha256 = this.#hash.copy().update(end).digest('hex');
  }
}
