/** A speech-to-speech model of one's own, by URL and key (docs/model-service.md). */
import { AppError } from '#lib/errors.ts';
import type { RealtimeProvider } from '../contract.ts';
import { openRealtimeSession } from '../realtime-session.ts';
import {
  flagOption,
  numberOption,
  textOption,
  urlOption,
  type VendorModule,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { openModelLine } from './line.ts';
import { RATES_HZ, type RateHz } from './protocol.ts';

/** Options: url (needed), model, input_sample_rate, output_sample_rate, tools, ca, deadlines. Key: credentials.api_key. */
export function realtime(settings: VendorSettings, tools: VendorTools): RealtimeProvider {
  const { setting, credentials } = settings;
  if (textOption(settings, 'url', '') === '') {
    throw new AppError('E_CONFIG', `${setting}: options.url is missing`);
  }
  const within = (name: string, standard: number): number =>
    numberOption(settings, name, standard, [50, 60_000]);
  const hasTools = flagOption(settings, 'tools', true);
  const limitMs = numberOption(settings, 'session_limit_ms', 0, [0, 86_400_000]);
  const line = {
    ...{ setting, tools, url: urlOption(settings, 'url', ''), ca: textOption(settings, 'ca', '') },
    apiKey: credentials['api_key'] ?? '',
    model: settings.model ?? textOption(settings, 'model', ''),
    rates: {
      inputHz: rateOption(settings, 'input_sample_rate', 16_000),
      outputHz: rateOption(settings, 'output_sample_rate', 24_000),
    },
    ...{ connectMs: within('connect_ms', 3_000), startMs: within('start_ms', 3_000) },
  };
  const shared = {
    ...{ vendor: 'model-service', hasTools, tools },
    ...{ replyMs: within('reply_ms', 8_000), stallMs: within('stall_ms', 5_000) },
    limitMs: limitMs === 0 ? null : limitMs,
  };
  return {
    ...{ vendor: 'model-service', hasTools },
    open(call, signal) {
      let count = 0;
      const offered = hasTools ? call : { ...call, tools: [] };
      return openRealtimeSession(
        {
          ...shared,
          connect: (made, events, life) =>
            openModelLine({ ...line, isResumed: count++ > 0 }, made, events, life),
        },
        offered,
        signal,
      );
    },
  };
}

function rateOption(settings: VendorSettings, name: string, standard: RateHz): RateHz {
  const wanted = numberOption(settings, name, standard, [8_000, 48_000]);
  const found = RATES_HZ.find((rate) => rate === wanted);
  if (found !== undefined) return found;
  const text = `${settings.setting}: options.${name} must be one of ${RATES_HZ.join(', ')}`;
  throw new AppError('E_CONFIG', text);
}

export const MODEL_SERVICE: VendorModule = { vendor: 'model-service', realtime };
