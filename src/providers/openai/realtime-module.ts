/** The settings of OpenAI Realtime. */
import { AppError } from '#lib/errors.ts';
import type { RealtimeProvider } from '../contract.ts';
import type { Json } from '../realtime-json.ts';
import {
  choiceOption,
  credential,
  flagOption,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { createOpenAiRealtime } from './realtime.ts';

const STANDARD_URL = 'wss://api.openai.com/v1/realtime';
const MODEL = 'gpt-realtime-2.1';
const VOICE = 'marin';
const TRANSCRIPTION = 'gpt-4o-mini-transcribe';
const NONE = 'none';

/** Options: realtime_url, dialect, audio, transcription_model (`none`: no transcripts), those of turn detection, ca. */
export function realtime(settings: VendorSettings, tools: VendorTools): RealtimeProvider {
  const transcription = textOption(settings, 'transcription_model', TRANSCRIPTION);
  const noise = choiceOption(settings, 'noise_reduction', [NONE, 'near_field', 'far_field']);
  const interruptsItself = flagOption(settings, 'interrupt_response', true);
  return createOpenAiRealtime({
    ...{ setting: settings.setting, tools, interruptsItself },
    apiKey: credential(settings, 'api_key'),
    url: urlOption(settings, 'realtime_url', STANDARD_URL),
    model: settings.model ?? textOption(settings, 'realtime_model', MODEL),
    voice: settings.voice ?? textOption(settings, 'realtime_voice', VOICE),
    speed: Math.min(1.5, Math.max(0.25, settings.speed ?? 1)),
    maxTokens: settings.maxTokens,
    dialect: choiceOption(settings, 'dialect', ['ga', 'beta']),
    audio: choiceOption(settings, 'audio', ['line', 'pcm']),
    transcriptionModel: transcription === NONE ? '' : transcription,
    turnDetection: turnDetectionOf(settings, interruptsItself),
    noiseReduction: noise === NONE ? null : noise,
    safetyId: textOption(settings, 'safety_identifier', ''),
    ca: authorityOf(settings),
    ...deadlinesOf(settings),
  });
}

function turnDetectionOf(settings: VendorSettings, interrupts: boolean): Json {
  const type = choiceOption(settings, 'turn_detection', ['server_vad', 'semantic_vad']);
  // Without it the replies are asked for by us, one after the other.
  const own = { create_response: interrupts, interrupt_response: interrupts };
  if (type === 'semantic_vad') {
    const eagerness = choiceOption(settings, 'eagerness', ['auto', 'low', 'medium', 'high']);
    return { type, eagerness, ...own };
  }
  const idleMs = numberOption(settings, 'idle_timeout_ms', 0, [0, 600_000]);
  return {
    type,
    threshold: numberOption(settings, 'threshold', 0.5, [0, 1]),
    prefix_padding_ms: numberOption(settings, 'prefix_padding_ms', 300, [0, 5_000]),
    silence_duration_ms: numberOption(settings, 'silence_duration_ms', 500, [100, 10_000]),
    ...(idleMs === 0 ? {} : { idle_timeout_ms: idleMs }),
    ...own,
  };
}

function authorityOf(settings: VendorSettings): string {
  const ca = textOption(settings, 'ca', '');
  if (ca === '' || ca.includes('-----BEGIN CERTIFICATE-----')) return ca;
  const text = `${settings.setting}: options.ca must be a certificate in PEM`;
  throw new AppError('E_CONFIG', text);
}

/** How long to wait for the vendor, in ms. */
function deadlinesOf(settings: VendorSettings) {
  const within = (name: string, standard: number): number =>
    numberOption(settings, name, standard, [50, 60_000]);
  return {
    connectMs: within('connect_ms', 3_000),
    startMs: within('start_ms', 3_000),
    replyMs: within('reply_ms', 8_000),
    stallMs: within('stall_ms', 5_000),
    limitMs: numberOption(settings, 'session_limit_ms', 3_600_000, [1_000, 86_400_000]),
  };
}
