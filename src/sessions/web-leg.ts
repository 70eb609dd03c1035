/** A call without SIP, as a leg: whoever attaches as the caller side is the other party, and may come back after a loss. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { WEB_AUDIO } from '#media/web/web-transport.ts';
import type { SipEnd } from '#sip/types.ts';
import type { Answered, Leg, LegDialog, LegEvents, LocalMedia, Refusal } from './leg.ts';

/** Contract 2.5: nobody within this is `no_answer`. */
const ANSWER_WITHIN_MS = 60_000;
/** Contract 2.5: after a loss the caller side may attach again within this. */
const RETURN_WITHIN_MS = 10_000;

export class WebLeg implements Leg {
  readonly sipCallId = null;
  readonly isWeb = true;
  readonly #clock: Clock;
  readonly #dialog = new WebDialog();
  readonly #answerUntilMs: number;
  #events: LegEvents | null = null;
  #hasCaller = false;
  #isAnswered = false;
  #isOver = false;
  /** Somebody has come while the call waits to be answered. */
  #onCaller: (() => void) | null = null;
  #timer: TimerHandle | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#answerUntilMs = clock.now() + ANSWER_WITHIN_MS;
  }

  // ---- The client's side ----

  /** Becomes the caller side; null: done. */
  attach(): 'TAKEN' | 'OVER' | null {
    if (this.#isOver) return 'OVER';
    if (this.#hasCaller) return 'TAKEN';
    this.#hasCaller = true;
    if (!this.#isAnswered) this.#onCaller?.();
    else {
      this.#disarm();
      this.#events?.onBack();
    }
    return null;
  }

  /** The caller side is gone without a word. */
  detach(): void {
    if (!this.#hasCaller || this.#isOver) return;
    this.#hasCaller = false;
    if (!this.#isAnswered) return; // still time to come
    this.#events?.onAway();
    this.#timer = this.#clock.setTimer(() => this.#events?.onLost(), RETURN_WITHIN_MS);
  }

  /** The caller side ends the call. */
  hangUp(): void {
    if (this.#isOver) return;
    if (this.#isAnswered) this.#dialog.end('remote');
    else this.#events?.onCancel();
  }

  // ---- The call's side ----

  localAddress(): Promise<string> {
    return Promise.resolve(''); // nothing is bound
  }

  check(events: LegEvents): Promise<{ readonly ok: true }> {
    this.#events = events;
    return Promise.resolve({ ok: true });
  }

  async connect(
    _local: LocalMedia,
    _events: LegEvents,
    signal: AbortSignal,
  ): Promise<Answered | Refusal> {
    const outcome = await this.#callerCome(signal);
    if (outcome !== null) {
      return { ok: false, cause: { type: 'callee.refused', outcome, status: null, q850: null } };
    }
    return { ok: true, dialog: this.#dialog, audio: WEB_AUDIO };
  }

  /** Null when there is a caller side; else why there is none. */
  async #callerCome(signal: AbortSignal): Promise<'no_answer' | 'cancelled' | null> {
    const { promise, resolve } = Promise.withResolvers<'no_answer' | 'cancelled' | null>();
    const onAbort = (): void => resolve('cancelled');
    this.#onCaller = () => {
      this.#isAnswered = true;
      this.#disarm();
      resolve(null);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else if (this.#hasCaller) this.#onCaller();
    else {
      const leftMs = Math.max(0, this.#answerUntilMs - this.#clock.now());
      this.#timer = this.#clock.setTimer(() => resolve('no_answer'), leftMs);
    }
    const outcome = await promise;
    signal.removeEventListener('abort', onAbort);
    this.#onCaller = null;
    // A caller who came and left at once is awaited by the timer of `detach`.
    if (outcome !== null) this.#disarm();
    return outcome;
  }

  advance(): Promise<boolean> {
    return Promise.resolve(false);
  }

  renegotiate(): { readonly status: number } {
    return { status: 488 };
  }

  acceptLate(): null {
    return null;
  }

  holdOffer(): null {
    return null;
  }

  acceptAnswer(): null {
    return null;
  }

  /** The call is being cleared up: nobody attaches any more. */
  refuse(): void {
    this.#isOver = true;
    this.#disarm();
  }

  #disarm(): void {
    this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
  }
}

/** There is no signalling: the dialog is the client's presence. */
class WebDialog implements LegDialog {
  readonly sipCallId = null;
  #end: SipEnd | null = null;
  #onEnd: (end: SipEnd) => void = () => undefined;

  end(by: 'remote' | 'local'): void {
    if (this.#end !== null) return;
    this.#end = { by, status: null, reason: null, q850: null };
    this.#onEnd(this.#end);
  }

  onEnd(listener: (end: SipEnd) => void): void {
    this.#onEnd = listener;
    if (this.#end !== null) listener(this.#end);
  }

  onOffer(): void {} // nobody offers

  onAnswer(): void {}

  onDtmf(): void {} // keys come by the attachment

  bye(): Promise<void> {
    this.end('local');
    return Promise.resolve();
  }

  reinvite(): Promise<string> {
    return Promise.reject(withoutSip());
  }

  sendDtmf(): Promise<void> {
    return Promise.reject(withoutSip());
  }
}

function withoutSip(): AppError {
  return new AppError('E_SIP_REJECTED', 'a call without SIP takes no requests');
}
