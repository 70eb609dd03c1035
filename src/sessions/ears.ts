/** Hears the caller: from the media plane's ring into the recogniser, and into a history to cut utterances from. */
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { MediaSession } from '#media/types.ts';
import type { Language, SttEvent, SttProvider, SttSession } from '#providers/contract.ts';
import { AudioHistory } from './audio-history.ts';

const PUMP_SAMPLES = 1600;

export type EarsOptions = {
  readonly callId: string;
  readonly media: Pick<MediaSession, 'readCaller'>;
  readonly provider: SttProvider;
  readonly log: Log;
  readonly onEvent: (event: SttEvent) => void;
  /** The recogniser is gone for this call. */
  readonly onFault: (error: unknown) => void;
};

export class Ears {
  readonly history = new AudioHistory();
  readonly #options: EarsOptions;
  readonly #chunk = new Int16Array(PUMP_SAMPLES);
  #stt: SttSession | null = null;
  /** Hears silence instead of the caller: times stay right, because no sample is left out. */
  isDeaf = false;

  constructor(options: EarsOptions) {
    this.#options = options;
  }

  /** Whose words came last. */
  get readBy(): string {
    const { provider } = this.#options;
    return provider.servedBy?.() ?? provider.vendor;
  }

  open(language: Language): void {
    const { callId, provider, onEvent } = this.#options;
    this.#stt = provider.open({ callId, language, onEvent: (event) => onEvent(event) });
  }

  /** Drains the caller's ring. */
  pump(): void {
    for (;;) {
      const count = this.#options.media.readCaller(this.#chunk);
      if (count === 0) return;
      const pcm = this.#chunk.subarray(0, count);
      if (this.isDeaf) pcm.fill(0);
      this.history.append(pcm);
      this.tell((stt) => stt.push(pcm));
    }
  }

  /** A recogniser that throws costs its own call its ears, and no other call anything. */
  tell(act: (stt: SttSession) => void): void {
    const stt = this.#stt;
    if (stt === null) return;
    try {
      act(stt);
    } catch (error) {
      this.#stt = null;
      this.#options.log.error('stt.crashed', { error: toAppError(error) });
      this.#options.onFault(error);
    }
  }

  close(): void {
    this.tell((stt) => stt.close());
  }
}
