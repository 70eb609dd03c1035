/** Plugs the client of Aliyun NLS into the speech proxies: the account's token, the gateway of its region. */
import type { AliyunSpeech } from '#api/aliyun-speech-port.ts';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { NlsAccess } from '#providers/aliyun/nls-access.ts';
import { flows } from '#providers/aliyun/speech-task.ts';
import { speakTexts } from '#providers/aliyun/speech-stream.ts';
import { openTranscriber } from '#providers/aliyun/transcriber.ts';
import { joinPieces } from '#providers/speakable.ts';
import type { VendorTokens } from '#sessions/vendor-tokens.ts';

export type SpeechProxiesOptions = {
  readonly tokens: Pick<VendorTokens, 'forAccount'>;
  readonly accounts: { aliyun(accountId: Id): Promise<unknown> };
  /** CALLYARD_ALIYUN_NLS_URL */
  readonly gatewayUrl: string | null;
};

const SETTING = 'the Aliyun account';
/** Dictation, not conversation: a sentence may pause for as long as the vendor's own default. */
const MAX_SILENCE_MS = 800;
/** A recording is sent faster than it was spoken, and its end is read a little later. */
const FINISH_MS = 8_000;

export function createSpeechProxies(options: SpeechProxiesOptions): AliyunSpeech {
  const { tokens, accounts, gatewayUrl } = options;
  const accessOf = (accountId: Id): NlsAccess => ({
    ...{ clock: systemClock, setting: SETTING, gatewayUrl, appKey: null },
    async token(refused) {
      const token = await tokens.forAccount(accountId, refused);
      if (token === null) throw new AppError('E_CONFIG', 'no Aliyun account is set up');
      return token;
    },
  });
  return {
    hasAccount: async (accountId) => (await accounts.aliyun(accountId)) !== null,
    joined: joinPieces,
    listen: (accountId, { rateHz, hasPartials, hasPunctuation, ...told }, signal) =>
      openTranscriber(
        accessOf(accountId),
        { rateHz, hasPartials, hasPunctuation, maxSilenceMs: MAX_SILENCE_MS, finishMs: FINISH_MS },
        {
          partial: (sentence) => told.onPartial(sentence),
          final: (sentence) => told.onFinal(sentence),
          failed: (error) => told.onFailed(error),
        },
        signal,
      ),
    speak: (accountId, { voice, texts, isWhole, ...rest }, signal) => {
      const isFlowing = flows(voice);
      const wanted = { ...rest, name: voice, isFlowing, hasSubtitles: false };
      return speakTexts(accessOf(accountId), wanted, { texts, isWhole }, signal);
    },
  };
}
