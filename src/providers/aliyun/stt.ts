/** The recogniser of Aliyun NLS behind the contract of recognisers: one session for a call, sentences cut by the vendor. */
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import { streamingStt } from '../streaming-stt.ts';
import {
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import type { NlsAccess } from './nls-access.ts';
import { accessOf } from './settings.ts';
import { openTranscriber, type TranscriberOptions } from './transcriber.ts';

const FRAME_MS = 40;
/** The vendor's own sample of a client sends 1.6 times as fast as one speaks. */
const CATCH_UP_SPEED = 1.5;

export function createAliyunStt(settings: VendorSettings, tools: VendorTools): SttProvider {
  const access = accessOf(settings, tools);
  const options = optionsOf(settings);
  const heard = streamingStt({
    ...{ vendor: 'aliyun', tools, rateHz: options.rateHz, frameMs: FRAME_MS },
    catchUpSpeed: CATCH_UP_SPEED,
    async connect(_call, events, signal) {
      const session = await openTranscriber(
        access,
        options,
        {
          partial: ({ text }) => events.partial(text),
          final: ({ text, confidence }) => events.final(text, confidence),
          failed: (error) => events.failed(error),
        },
        signal,
      );
      return {
        send: (frame) => void session.send(bytesOf(frame)),
        close: () => session.close(),
      };
    },
  });
  return { ...heard, check: (signal) => check(access, options, signal) };
}

/** A moment of silence, said goodbye to: token, project and rate are right then. */
async function check(
  access: NlsAccess,
  options: TranscriberOptions,
  signal: AbortSignal,
): Promise<void> {
  const none = (): void => undefined;
  const events = { partial: none, final: none, failed: none };
  const session = await openTranscriber(access, options, events, signal);
  try {
    session.send(new Uint8Array((options.rateHz / 1000) * FRAME_MS * 2));
    await session.stop();
  } finally {
    session.close();
  }
}

/** Errors: E_CONFIG. */
function optionsOf(settings: VendorSettings): TranscriberOptions {
  const rateHz = numberOption(settings, 'sample_rate', 8000, [8000, 16000]) > 8000 ? 16000 : 8000;
  const texts = ['vocabulary_id', 'customization_id']
    .map((name) => [name, textOption(settings, name, '')] as const)
    .filter(([, value]) => value !== '');
  const hasNoise = settings.options['speech_noise_threshold'] != null;
  const noise = numberOption(settings, 'speech_noise_threshold', 0, [-1, 1]);
  const hasMeaning = flagOption(settings, 'enable_semantic_sentence_detection', false);
  return {
    ...{ rateHz, hasPartials: true },
    hasPunctuation: flagOption(settings, 'punctuation', true),
    maxSilenceMs: numberOption(settings, 'max_sentence_silence', 300, [200, 2000]),
    more: {
      ...Object.fromEntries(texts),
      ...(hasNoise ? { speech_noise_threshold: noise } : {}),
      ...(flagOption(settings, 'disfluency', false) ? { disfluency: true } : {}),
      ...(hasMeaning ? { enable_semantic_sentence_detection: true } : {}),
    },
  };
}
