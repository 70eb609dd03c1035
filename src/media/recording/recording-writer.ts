/** The two places a recording's bytes go: a sealed file (what calls use), or a plain WAV where nobody gave a key. */
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import { WAV_HEADER_BYTES, wavDurationMs, wavHeader } from '#lib/wav.ts';
import { OggForm } from './ogg-form.ts';
import type { OpenSidesEncoder } from './opus-sides.ts';
import { SamplesForm, type RecordingForm } from './recording-form.ts';
import { SealedBytes } from './sealed-bytes.ts';

/** The part of a file handle that is used; tests bring their own. */
export type RecordingHandle = {
  /** Writes all of `bytes` at `position` or rejects. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
  /** Removes the file; comes after close(). */
  remove(): Promise<void>;
};

/** One call at a time. What rejects may be tried again and then continues where it was. */
export type RecordingWriter = {
  /** The next samples, which are copied or held until flush(). Asks no disk. */
  add(samples: Uint8Array): Promise<void>;
  /** Puts what is complete on disk. */
  flush(): Promise<void>;
  /**
   * Leaves a file that can be read up to what could be written, also after a failure. Rejects when something is missing
   * in it; `isReadable` then tells whether there is a file at all.
   */
  finish(): Promise<void>;
  readonly isReadable: boolean;
  /** Nothing of the call can be heard in the file. */
  readonly isEmpty: boolean;
  /** What a reader of the file gets, and how long it lasts, ms. */
  readonly bytes: number;
  readonly durationMs: number;
  /** SHA-256 of the whole file, hex; null where none is made. Valid after finish(). */
  readonly sha256: string | null;
  /** Releases what it holds besides the file. Idempotent. */
  close(): void;
};

export function recordingWriter(
  handle: RecordingHandle,
  seal: RecordingSeal | null,
  openEncoder: OpenSidesEncoder,
): RecordingWriter {
  if (seal === null) return new PlainWriter(handle);
  const isOgg = seal.format === 'ogg';
  const serial = Number.parseInt(seal.recordingId.slice(0, 8), 16);
  return new SealedWriter(
    new SealedBytes(handle, seal),
    isOgg ? new OggForm({ serial, openEncoder }) : new SamplesForm(),
  );
}

class PlainWriter implements RecordingWriter {
  readonly sha256 = null;
  /** The header of before fits less than is there, and that much can be read. */
  readonly isReadable = true;
  readonly #handle: RecordingHandle;
  #waiting: Uint8Array[] = [];
  #dataBytes = 0;
  #isBegun = false;

  constructor(handle: RecordingHandle) {
    this.#handle = handle;
  }

  get isEmpty(): boolean {
    return this.#dataBytes === 0;
  }

  get bytes(): number {
    return WAV_HEADER_BYTES + this.#dataBytes;
  }

  get durationMs(): number {
    return wavDurationMs(this.#dataBytes);
  }

  add(samples: Uint8Array): Promise<void> {
    this.#waiting.push(samples);
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    if (!this.#isBegun) await this.#handle.write(wavHeader(0), 0);
    this.#isBegun = true;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      await this.#handle.write(next, WAV_HEADER_BYTES + this.#dataBytes);
      this.#dataBytes += next.length;
      this.#waiting.shift();
    }
  }

  async finish(): Promise<void> {
    let lost: unknown = null;
    try {
      await this.flush();
    } catch (error) {
      lost = error;
    }
    await this.#handle.truncate(this.bytes);
    await this.#handle.write(wavHeader(this.#dataBytes), 0);
    if (lost !== null) throw lost;
  }

  close(): void {
    // Holds nothing.
  }
}

/** Of samples, 2 s: so often what is gathered of a dense chunk is kept. */
const TAIL_EVERY_BYTES = 64_000;

class SealedWriter implements RecordingWriter {
  readonly #file: SealedBytes;
  readonly #form: RecordingForm;
  #sinceTail = 0;

  constructor(file: SealedBytes, form: RecordingForm) {
    this.#file = file;
    this.#form = form;
  }

  get isReadable(): boolean {
    return this.#file.sha256 !== null;
  }

  get isEmpty(): boolean {
    return this.durationMs === 0;
  }

  get bytes(): number {
    return this.#form.readerBytes(this.#file.dataBytes);
  }

  get durationMs(): number {
    return this.#form.durationMs(this.#file.dataBytes);
  }

  get sha256(): string | null {
    return this.#file.sha256;
  }

  async add(samples: Uint8Array): Promise<void> {
    for (const part of await this.#form.add(samples)) this.#file.add(part);
    this.#sinceTail += samples.length;
  }

  async flush(): Promise<void> {
    await this.#file.flush();
    if (!this.#form.isDense || this.#sinceTail < TAIL_EVERY_BYTES) return;
    await this.#file.keepTail();
    this.#sinceTail = 0;
  }

  async finish(): Promise<void> {
    const fault = await this.#addEnd();
    const lost = await this.#file.finish();
    if (fault !== null || lost !== null) throw fault ?? lost;
  }

  /** Null, or why it could not be made: an encoder that dies is tried once more. */
  async #addEnd(): Promise<unknown> {
    let fault: unknown = null;
    for (let tries = 0; tries < 2; tries++) {
      try {
        for (const part of await this.#form.end()) this.#file.add(part);
        return null;
      } catch (error) {
        fault = error;
      }
    }
    return fault;
  }

  close(): void {
    this.#form.close();
  }
}
