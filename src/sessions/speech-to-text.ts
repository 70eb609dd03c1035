/** An uploaded recording read by the account's recogniser (contract 2.6 row 11). */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import type { Id } from '#lib/ids.ts';
import type { Language, SttProvider } from '#providers/contract.ts';
import { joined, readSpeech, type RecognisedSegment } from './recorded-speech.ts';

export type Recognised = {
  readonly text: string;
  readonly segments: readonly RecognisedSegment[];
  /** Mean of the segments that have one. */
  readonly confidence: number | null;
  readonly durationMs: number;
  readonly vendor: string;
};

export type SpeechToText = {
  /**
   * `pcm` is mono at `rateHz`; `language` null is the account's. Null when no recogniser that reads is set up. Aborting
   * `signal` gives up. Errors: E_PROVIDER_*, E_TIMEOUT, E_CONFIG, E_MEDIA, E_ABORTED.
   */
  recognise(
    accountId: Id,
    pcm: Int16Array,
    rateHz: number,
    language: Language | null,
    signal?: AbortSignal,
  ): Promise<Recognised | null>;
};

export type SpeechToTextOptions = {
  /** The account's recogniser and language, else the installation's. Errors: E_CONFIG. */
  sttFor(accountId: Id): Promise<{ readonly stt: SttProvider; readonly language: Language }>;
  readonly clock: Clock;
};

/** Contract 8, class `model`: 5 s for a recording of up to 60 s. */
const TIMEOUT_A_MINUTE_MS = 4_500;
const MINUTE_MS = 60_000;
const SETTINGS_TIMEOUT_MS = 2_000;

export function createSpeechToText(options: SpeechToTextOptions): SpeechToText {
  return {
    async recognise(accountId, pcm, rateHz, language, left) {
      const { clock } = options;
      const durationMs = Math.round((pcm.length * 1000) / rateHz);
      const limitMs = TIMEOUT_A_MINUTE_MS * Math.max(1, Math.ceil(durationMs / MINUTE_MS));
      const startedMs = clock.now();
      const known = options.sttFor(accountId);
      const chosen = await withDeadline(known, SETTINGS_TIMEOUT_MS, 'the database', clock);
      const { stt } = chosen;
      if (!stt.reads) return null;
      const stop = new AbortController();
      const onLeft = (): void => stop.abort();
      left?.addEventListener('abort', onLeft, { once: true });
      if (left?.aborted === true) stop.abort();
      const work = readSpeech(stt, pcm, rateHz, language ?? chosen.language, stop.signal);
      const timeoutMs = limitMs - (clock.now() - startedMs);
      try {
        const { segments } = await withDeadline(work, timeoutMs, 'the recogniser', clock);
        return { ...joined(segments), segments, durationMs, vendor: stt.vendor };
      } finally {
        left?.removeEventListener('abort', onLeft);
        stop.abort();
      }
    },
  };
}
