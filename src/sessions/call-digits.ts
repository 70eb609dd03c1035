/** Keys pressed for the agent's side of a call: as RTP events, as tones, or by SIP INFO (contract 2.7). */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { toAppError, type AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { MediaSession } from '#media/types.ts';
import type { SipDialog } from '#sip/types.ts';
import type { ControlResult, DtmfOptions } from './call-control-types.ts';
import { refusalOf } from './call-hold.ts';
import type { CallStory } from './story.ts';

export type CallDigitsOptions = {
  readonly dialog: Pick<SipDialog, 'sendDtmf'>;
  readonly story: Pick<CallStory, 'fact' | 'isOver'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Null once it is closed. */
  readonly media: () => Pick<MediaSession, 'sendDtmf' | 'takesEvents'> | null;
};

type Sent = ControlResult<{ sent: string }>;

/** Digits that wait to be sent: more than two commands' worth are not taken. */
const MAX_DIGITS = 128;
const PAUSE_MS = 500;

export class CallDigits {
  readonly #options: CallDigitsOptions;
  readonly #end = new AbortController();
  #waiting = 0;
  #latest: Promise<unknown> = Promise.resolve();

  constructor(options: CallDigitsOptions) {
    this.#options = options;
  }

  /** Resolves when they are on their way; by INFO, when the first was taken. They follow those sent before. */
  async send(
    options: DtmfOptions & { readonly mode: NonNullable<DtmfOptions['mode']> },
  ): Promise<Sent> {
    const { digits } = options;
    if (this.#waiting + digits.length > MAX_DIGITS) {
      return { ok: false, refusal: 'INVALID_STATE', detail: 'digits_full' };
    }
    this.#waiting += digits.length;
    const first = Promise.withResolvers<Sent>();
    const before = this.#latest;
    this.#latest = (async () => {
      await before;
      try {
        if (options.mode === 'info') await this.#sendInfo(options, first.resolve);
        else await this.#sendSound(options, options.mode, first.resolve);
      } catch (thrown) {
        this.#tellFault(toAppError(thrown));
        first.reject(thrown);
      } finally {
        this.#waiting -= digits.length;
      }
    })();
    return first.promise.catch((thrown: unknown) => refusalOf(toAppError(thrown)));
  }

  /** What is not sent yet, will not be. Idempotent. */
  close(): void {
    this.#end.abort();
  }

  async #sendSound(
    { digits, toneMs, gapMs }: DtmfOptions,
    mode: 'rfc4733' | 'inband',
    onTaken: (sent: Sent) => void,
  ): Promise<void> {
    const media = this.#options.media();
    if (media === null) return onTaken({ ok: false, refusal: 'CALL_NOT_ACTIVE' });
    onTaken({ ok: true, data: { sent: digits } });
    const sound = media.takesEvents ? mode : 'inband';
    try {
      await media.sendDtmf(digits, { mode: sound, toneMs, gapMs });
    } catch (error) {
      if (toAppError(error).code !== 'E_DTMF') throw error;
      // The far end has just renegotiated: it takes no events any more.
      await media.sendDtmf(digits, { mode: 'inband', toneMs, gapMs });
    }
  }

  async #sendInfo(
    { digits, toneMs, gapMs }: DtmfOptions,
    onTaken: (sent: Sent) => void,
  ): Promise<void> {
    const { dialog, clock } = this.#options;
    const { signal } = this.#end;
    for (const digit of digits) {
      const startMs = clock.now();
      if (digit !== 'w') await dialog.sendDtmf(digit, toneMs);
      onTaken({ ok: true, data: { sent: digits } });
      const lengthMs = digit === 'w' ? PAUSE_MS : toneMs + gapMs;
      await delay(Math.max(0, startMs + lengthMs - clock.now()), signal, clock);
    }
  }

  #tellFault({ code, message, fault, retryable }: AppError): void {
    const { story, log } = this.#options;
    if (story.isOver || code === 'E_ABORTED') return;
    log.warn('dtmf.failed', { code, message });
    story.fact('call-error', { code, message, fault, fatal: false, retryable });
  }
}
