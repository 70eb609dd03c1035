/** One session of the voice: what the vendor says of it, for whoever waits, with deadlines. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Service } from './account.ts';
import { badEndOf, failureOfFrame } from './errors.ts';
import { TOLD } from './events.ts';
import { jsonOf, type VolcFrame } from './frame.ts';
import type { LineUser } from './line.ts';

export type SpeechPart =
  | { readonly type: 'started' }
  | { readonly type: 'audio'; readonly bytes: Uint8Array }
  | { readonly type: 'words'; readonly words: unknown }
  | { readonly type: 'finished' };

/** Four minutes of 8 kHz: more than any text that is spoken in one piece. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

export class Speech implements LineUser {
  readonly #service: Service;
  readonly #clock: Clock;
  readonly #parts: SpeechPart[] = [];
  #waitingBytes = 0;
  #error: AppError | null = null;
  #wake: (() => void) | null = null;

  constructor(service: Service, clock: Clock) {
    this.#service = service;
    this.#clock = clock;
  }

  frame(frame: VolcFrame): void {
    try {
      const part = this.#partOf(frame);
      if (part !== null) this.#add(part);
    } catch (error) {
      this.failed(error as AppError);
    }
  }

  failed(error: AppError): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** In order; what came before a failure is given before it is thrown. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  async next(withinMs: number): Promise<SpeechPart> {
    if (this.#parts.length === 0 && this.#error === null) await this.#wait(withinMs);
    if (this.#error?.code === 'E_ABORTED') throw this.#error;
    const part = this.#parts.shift();
    if (part === undefined) throw this.#error ?? new AppError('E_INTERNAL', 'woken for nothing');
    if (part.type === 'audio') this.#waitingBytes -= part.bytes.length;
    return part;
  }

  async #wait(withinMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer: TimerHandle = this.#clock.setTimer(() => {
      const what = `${this.#service.what}: nothing for ${withinMs} ms`;
      this.failed(new AppError('E_TIMEOUT', what));
    }, withinMs);
    await promise;
    this.#clock.clearTimer(timer);
    this.#wake = null;
  }

  #partOf(frame: VolcFrame): SpeechPart | null {
    switch (frame.event) {
      case TOLD.sessionStarted:
        return { type: 'started' };
      case TOLD.audio:
        return { type: 'audio', bytes: frame.payload };
      case TOLD.sentenceEnd:
      case TOLD.subtitle:
        return { type: 'words', words: jsonOf(frame)['words'] };
      case TOLD.sessionFailed:
        throw failureOfFrame(this.#service, frame);
      case TOLD.sessionFinished:
      case TOLD.sessionCanceled: {
        const bad = badEndOf(this.#service, frame);
        if (bad !== null) throw bad;
        return { type: 'finished' };
      }
      case null:
      default:
        return null;
    }
  }

  #add(part: SpeechPart): void {
    if (part.type === 'audio') this.#waitingBytes += part.bytes.length;
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      throw new AppError('E_PROVIDER_SERVER', `${this.#service.what}: sound without end`);
    }
    this.#parts.push(part);
    this.#wake?.();
  }
}
