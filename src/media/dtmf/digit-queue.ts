/** The main thread's side of sending digits: what is asked for is checked, counted, and told when it is out. */
import { AppError } from '#lib/errors.ts';
import type { DtmfJob } from './dtmf-sender.ts';
import type { DtmfTones, NegotiatedAudio } from '../types.ts';

/** Digits that may wait. */
const MAX_WAITING = 128;
const MIN_MS = 40;
const MAX_MS = 8000;

type Waiting = {
  readonly count: number;
  readonly resolve: () => void;
  readonly reject: (error: AppError) => void;
};

export class DigitQueue {
  readonly #send: (job: DtmfJob) => void;
  readonly #waiting = new Map<number, Waiting>();
  #lastRequest = 0;
  #count = 0;
  #takesEvents = false;
  #isClosed = false;

  constructor(send: (job: DtmfJob) => void) {
    this.#send = send;
  }

  get takesEvents(): boolean {
    return this.#takesEvents;
  }

  negotiate({ dtmfPayloadType, dtmfSendPayloadType = dtmfPayloadType }: NegotiatedAudio): void {
    this.#takesEvents = dtmfSendPayloadType !== null;
  }

  /** Resolves when all has been sent. Errors: E_REQUEST, E_DTMF, E_QUEUE_FULL, E_ABORTED. */
  add(digits: string, tones: DtmfTones): Promise<void> {
    const refusal = this.#refusal(digits, tones);
    if (refusal !== null) return Promise.reject(refusal);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const request = ++this.#lastRequest;
    this.#count += digits.length;
    this.#waiting.set(request, { count: digits.length, resolve, reject });
    const { mode, toneMs, gapMs } = tones;
    this.#send({ request, digits, mode, toneMs, gapMs });
    return promise;
  }

  /** The worker has sent them. */
  sent(request: number): void {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) return;
    this.#waiting.delete(request);
    this.#count -= waiting.count;
    waiting.resolve();
  }

  close(): void {
    this.#isClosed = true;
    for (const { reject } of this.#waiting.values()) reject(aborted());
    this.#waiting.clear();
    this.#count = 0;
  }

  #refusal(digits: string, { mode, toneMs, gapMs }: DtmfTones): AppError | null {
    if (this.#isClosed) return aborted();
    if (!/^[0-9A-D*#w]+$/.test(digits)) return new AppError('E_REQUEST', 'no DTMF digits');
    if (![toneMs, gapMs].every((ms) => ms >= MIN_MS && ms <= MAX_MS)) {
      return new AppError('E_REQUEST', `tone and gap last ${MIN_MS} to ${MAX_MS} ms`);
    }
    if (mode === 'rfc4733' && !this.#takesEvents) {
      return new AppError('E_DTMF', 'the other side takes no telephone events');
    }
    if (this.#count + digits.length <= MAX_WAITING) return null;
    return new AppError('E_QUEUE_FULL', `more than ${MAX_WAITING} digits wait to be sent`);
  }
}

function aborted(): AppError {
  return new AppError('E_ABORTED', 'the media of the call is closed');
}
