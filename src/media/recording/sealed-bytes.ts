/** A sealed file being written: bytes are gathered to chunks, each sealed once; how much of it stays is decided at the end. */
import { createHash, type Hash } from 'node:crypto';
import {
  SEALED_CHUNK_BYTES,
  SEALED_TAG_BYTES,
  sealedChunkOffset,
  SealedAudio,
  sealedFileBytes,
  type RecordingSeal,
} from '#lib/sealed-audio.ts';
import type { RecordingHandle } from './recording-writer.ts';

export class SealedBytes {
  readonly #handle: RecordingHandle;
  readonly #audio: SealedAudio;
  readonly #chunk = Buffer.alloc(SEALED_CHUNK_BYTES);
  #filled = 0;
  /** Sealed, and not on disk yet; after a failure these very bytes are written again, so no nonce is used twice. */
  #waiting: Buffer[] = [];
  #isBegun = false;
  /** Whole chunks on disk. */
  #written = 0;
  #dataBytes = 0;
  /** The file may be longer than what counts: by a tail, or by what was torn off. */
  #isLonger = false;
  /** Tails are written to two places by turns: one that is torn does not cost the other. */
  #tailTurn = 0;
  #hash = createHash('sha256');
  /** As it was before the last chunk, for a file that has to give that one up. */
  #hashBefore: Hash = this.#hash;
  #sha256: string | null = null;

  constructor(handle: RecordingHandle, seal: RecordingSeal) {
    this.#handle = handle;
    this.#audio = new SealedAudio(seal);
    this.#hash.update(this.#audio.header);
  }

  /** On disk, in whole chunks; after finish() all of the file. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Of the whole file, hex; null before finish(). */
  get sha256(): string | null {
    return this.#sha256;
  }

  add(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const part = Math.min(bytes.length - done, SEALED_CHUNK_BYTES - this.#filled);
      this.#chunk.set(bytes.subarray(done, done + part), this.#filled);
      this.#filled += part;
      done += part;
      if (this.#filled === SEALED_CHUNK_BYTES) this.#seal();
    }
  }

  /** Puts what is complete on disk, in one write. Rejects like the disk; may be tried again. */
  async flush(): Promise<void> {
    const waiting = this.#waiting;
    if (waiting.length === 0 && this.#isBegun) return;
    await this.#writeFrom(waiting);
    for (const chunk of waiting) {
      this.#hashBefore = this.#hash.copy();
      this.#hash.update(chunk);
    }
    this.#written += waiting.length;
    this.#dataBytes = this.#written * SEALED_CHUNK_BYTES;
    this.#waiting = [];
  }

  /** Puts what is gathered of the next chunk on disk too, for a mend after a crash. After flush(). */
  async keepTail(): Promise<void> {
    if (this.#filled === 0 || this.#waiting.length > 0 || !this.#isBegun) return;
    const tail = this.#audio.sealTail(this.#written, this.#chunk.subarray(0, this.#filled));
    this.#isLonger = true;
    await this.#handle.write(tail, sealedChunkOffset(this.#written + this.#tailTurn));
    this.#tailTurn = 1 - this.#tailTurn;
  }

  /**
   * Closes the file behind as much as the disk takes: at best all that was added, at worst all but the last chunk that
   * was written, in whose place the end goes. Gives the fault that cost something, or null; rejects when not even that can
   * be done.
   */
  async finish(): Promise<unknown> {
    if (this.#filled > 0) this.#seal();
    const parts = this.#waiting;
    const least = this.#written > 0 ? -1 : 0;
    let fault: unknown = null;
    // All of it is tried twice: one fault is not yet a full disk.
    for (let tries = 0, kept = parts.length; ; tries++) {
      try {
        await this.#close(parts, kept);
        return kept === parts.length ? null : fault;
      } catch (error) {
        fault ??= error;
        if (kept === least) throw fault;
      }
      if (tries > 0) kept--;
    }
  }

  #seal(): void {
    const index = this.#written + this.#waiting.length;
    this.#waiting.push(this.#audio.sealChunk(index, this.#chunk.subarray(0, this.#filled)));
    this.#filled = 0;
  }

  async #close(parts: readonly Buffer[], kept: number): Promise<void> {
    const chunks = parts.slice(0, Math.max(0, kept));
    const written = this.#written + Math.min(0, kept);
    const dataBytes =
      written * SEALED_CHUNK_BYTES +
      chunks.reduce((sum, chunk) => sum + chunk.length - SEALED_TAG_BYTES, 0);
    const end = this.#audio.sealEnd(dataBytes);
    await this.#writeFrom([...chunks, end], written);
    if (this.#isLonger) await this.#handle.truncate(sealedFileBytes(dataBytes));
    const hash = (kept < 0 ? this.#hashBefore : this.#hash).copy();
    for (const part of [...chunks, end]) hash.update(part);
    this.#dataBytes = dataBytes;
    this.#sha256 = hash.digest('hex');
  }

  /** Writes `parts` behind the first `written` chunks, and the header before them if it is not there yet. */
  async #writeFrom(parts: readonly Buffer[], written = this.#written): Promise<void> {
    const all = this.#isBegun ? parts : [this.#audio.header, ...parts];
    const bytes = all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all);
    const isLonger = this.#isLonger;
    // Until it has been written, some of it may be there.
    this.#isLonger = true;
    await this.#handle.write(bytes, this.#isBegun ? sealedChunkOffset(written) : 0);
    this.#isLonger = isLonger;
    this.#isBegun = true;
  }
}
