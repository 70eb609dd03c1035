/** The main thread's side of a call's recordings: which file is being written, and who waits for its end. */
import { rm } from 'node:fs/promises';
import { AppError } from '#lib/errors.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import type { MediaCommand, MediaReply } from '../media-protocol.ts';
import { repairSealed } from './sealed-repair.ts';
import type { MediaOptions, RecordingResult } from '../types.ts';
import { repairWav } from './wav.ts';

type Place = { readonly path: string; readonly seal: RecordingSeal | null };

export type RecordingControlParts = {
  readonly id: number;
  readonly options: MediaOptions;
  readonly send: (command: MediaCommand) => void;
  /** E_TIMEOUT when the worker does not answer. */
  readonly deadline: <T>(answer: Promise<T>, what: string) => Promise<T>;
};

export class RecordingControl {
  readonly #parts: RecordingControlParts;
  /** The call's own place, until it is used. */
  #own: Place | null;
  #running: Place | null = null;
  #isStarted = false;
  #stopping: PromiseWithResolvers<RecordingResult | null> | null = null;

  constructor(parts: RecordingControlParts) {
    this.#parts = parts;
    const { recordingPath: path, recordingSeal: seal = null } = parts.options;
    this.#own = path === null ? null : { path, seal };
  }

  /** The call's media runs: so does its recording, unless it waits for `record()`. */
  started(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (this.#parts.options.recordsOnCommand !== true) this.#useOwn();
  }

  record(): void {
    if (!this.#isStarted || this.#own === null || this.#running !== null) return;
    this.#useOwn();
    this.#parts.send({ type: 'record', session: this.#parts.id });
  }

  start(path: string, seal: RecordingSeal | null): void {
    if (!this.#isStarted) throw new AppError('E_CONFLICT', 'the call has no media yet');
    if (this.#running !== null) throw new AppError('E_CONFLICT', 'the call is being recorded');
    this.#running = { path, seal };
    this.#parts.send({ type: 'recording.start', session: this.#parts.id, path, seal });
  }

  pause(on: boolean): void {
    if (this.#running === null || this.#stopping !== null) return;
    this.#parts.send({ type: 'recording.pause', session: this.#parts.id, on });
  }

  stop(): Promise<RecordingResult | null> {
    if (this.#running === null) return Promise.resolve(null);
    if (this.#stopping === null) {
      this.#stopping = Promise.withResolvers();
      this.#parts.send({ type: 'recording.stop', session: this.#parts.id });
    }
    return this.#parts.deadline(this.#stopping.promise, 'ending the recording of a call');
  }

  /** The worker's answer to `stop`. */
  stopped(reply: Extract<MediaReply, { type: 'recording.stopped' }>): void {
    const stopping = this.#stopping;
    this.#stopping = null;
    this.#running = null;
    if (reply.error === null) stopping?.resolve(reply.recording);
    else stopping?.reject(new AppError('E_MEDIA', reply.error));
  }

  /**
   * The worker is gone: what it had written, closed as after a crash; null when there is nothing in it, or whoever stops
   * the recording gets it. Errors: of the disk.
   */
  async left(): Promise<RecordingResult | null> {
    const place = this.#running;
    const stopping = this.#stopping;
    this.#running = null;
    this.#stopping = null;
    const mending = place === null ? Promise.resolve(null) : mend(place);
    if (stopping === null) return await mending;
    stopping.resolve(mending);
    return null;
  }

  /** Nothing answers any more. */
  close(): void {
    this.#stopping?.resolve(null);
    this.#stopping = null;
    this.#running = null;
  }

  #useOwn(): void {
    this.#running = this.#own;
    this.#own = null;
  }
}

async function mend({ path, seal }: Place): Promise<RecordingResult | null> {
  const mended = seal === null ? await repairWav(path) : await repairSealed(path, seal);
  if (mended.durationMs > 0) return { path, sha256: null, ...mended, truncated: true };
  await rm(path, { force: true });
  return null;
}
