/** What MiniMax is told of a voice: the same for its sockets and its HTTP service (providers.md section 6). */
import type { TtsRequest } from '../contract.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { numberOption, textOption, type VendorSettings } from '../vendor.ts';

export const VENDOR = 'minimax';
const RATES = [8_000, 16_000, 24_000, 32_000];

export type MinimaxVoice = {
  readonly rateHz: number;
  /** The voice's own name. */
  readonly voiceId: string;
  settingsFor(request: TtsRequest | null): Readonly<Record<string, unknown>>;
};

/** Errors: E_CONFIG. */
export function minimaxVoice(settings: VendorSettings): MinimaxVoice {
  const model = settings.model ?? textOption(settings, 'model', 'speech-2.8-turbo');
  const voiceId = settings.voice ?? textOption(settings, 'voice', 'female-shaonv');
  const boost = textOption(settings, 'language_boost', '');
  const emotion = textOption(settings, 'emotion', '');
  const pitch = Math.round(numberOption(settings, 'pitch', 0, [-12, 12]));
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8_000, 32_000]);
  const rateHz = RATES.find((rate) => rate >= wishHz) ?? SAMPLE_RATE_HZ;
  return {
    ...{ rateHz, voiceId },
    settingsFor: (request) => ({
      model,
      voice_setting: {
        voice_id: request?.voice ?? voiceId,
        speed: Math.min(2, Math.max(0.5, settings.speed ?? 1)),
        vol: Math.min(10, Math.max(0.1, settings.volume ?? 1)),
        pitch,
        ...(emotion === '' ? {} : { emotion }),
      },
      audio_setting: { sample_rate: rateHz, format: 'pcm', channel: 1 },
      ...(boost === '' ? {} : { language_boost: boost }),
    }),
  };
}

/** `address` with the group that the older host asks for, where the account has one. */
export function withGroup(settings: VendorSettings, address: string): string {
  const group = textOption(settings, 'group_id', '');
  return group === ''
    ? address
    : `${address}?${new URLSearchParams({ GroupId: group }).toString()}`;
}
