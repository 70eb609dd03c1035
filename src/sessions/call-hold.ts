/** A call on hold: the other side is told so by SIP and hears music, while the agent's time stands still (contract 2.7). */
import { AppError, toAppError } from '#lib/errors.ts';
import type { MediaSession, NegotiatedAudio } from '#media/types.ts';
import { FRAME_SAMPLES } from '#media/types.ts';
import type { SipDialog } from '#sip/types.ts';
import type { ControlResult } from './call-control-types.ts';
import type { Leg } from './leg.ts';
import type { Talk } from './talk.ts';

export type CallHoldOptions = {
  readonly leg: Pick<Leg, 'isWeb' | 'holdOffer' | 'acceptAnswer'>;
  readonly dialog: Pick<SipDialog, 'reinvite'>;
  readonly conversation: Pick<Talk, 'hold'>;
  /** Null once it is closed. */
  readonly media: () => Pick<MediaSession, 'playLoop'> | null;
  /** What is heard on hold. */
  readonly music: () => Int16Array;
  /** What was agreed on holds from now on. */
  readonly restart: (audio: NegotiatedAudio) => void;
};

const SILENCE = new Int16Array(FRAME_SAMPLES);

export class CallHold {
  readonly #options: CallHoldOptions;
  #isOn = false;
  #hasMusic = false;
  /** One re-INVITE at a time, in the order of the commands. */
  #latest: Promise<unknown> = Promise.resolve();

  constructor(options: CallHoldOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Resolves when the other side has agreed. A refusal leaves everything as it was. */
  set(on: boolean, music: boolean): Promise<ControlResult<{ on: boolean }>> {
    const before = this.#latest;
    const result = (async () => {
      await Promise.allSettled([before]);
      return this.#change(on, music);
    })();
    this.#latest = result;
    return result;
  }

  async #change(on: boolean, music: boolean): Promise<ControlResult<{ on: boolean }>> {
    if (on !== this.#isOn) {
      const refused = await this.#negotiate(on);
      if (refused !== null) return refused;
      this.#isOn = on;
      if (on) this.#options.conversation.hold(true);
      this.#hasMusic = !music;
    }
    const media = this.#options.media();
    if (!on) media?.playLoop(null);
    else if (music !== this.#hasMusic) media?.playLoop(music ? this.#options.music() : SILENCE);
    this.#hasMusic = music;
    if (!on) this.#options.conversation.hold(false);
    return { ok: true, data: { on } };
  }

  /** Null: agreed, or there is nobody to ask. */
  async #negotiate(on: boolean): Promise<ControlResult<never> | null> {
    const { leg, dialog, restart } = this.#options;
    if (leg.isWeb === true) return null;
    // Made when it is sent: an offer of theirs that comes first changes what ours has to say.
    const offer = (): string => {
      const sdp = leg.holdOffer(on);
      if (sdp === null) throw new AppError('E_INTERNAL', 'an answered call has no description');
      return sdp;
    };
    try {
      const audio = leg.acceptAnswer(await dialog.reinvite(offer));
      if (audio === null) return { ok: false, refusal: 'REJECTED', vendorCode: '488' };
      restart(audio);
      return null;
    } catch (error) {
      return refusalOf(toAppError(error));
    }
  }
}

/** What the other side did not do. Errors: what is no refusal of theirs. */
export function refusalOf(error: AppError): ControlResult<never> {
  const { code, details } = error;
  if (code === 'E_SIP_DIALOG_GONE') return { ok: false, refusal: 'CALL_NOT_ACTIVE' };
  if (code === 'E_TIMEOUT') return { ok: false, refusal: 'TIMEOUT' };
  if (code !== 'E_SIP_REJECTED' && code !== 'E_SDP') throw error;
  const { status } = details;
  const vendorCode = typeof status === 'number' ? String(status) : code;
  return { ok: false, refusal: 'REJECTED', vendorCode };
}
