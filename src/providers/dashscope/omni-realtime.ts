/** Qwen-Omni-Realtime of Aliyun DashScope, speech to speech (providers.md 2.3): 16 kHz in, 24 kHz out, beta events. */
import type { ChatMessage, RealtimeProvider } from '../contract.ts';
import { pcmCoding } from '../realtime-audio.ts';
import { openEventsLine } from '../realtime-events-line.ts';
import type { Json } from '../realtime-json.ts';
import type { LineCall } from '../realtime-line.ts';
import { openRealtimeSession } from '../realtime-session.ts';
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

export type QwenOmniOptions = {
  readonly setting: string;
  readonly apiKey: string;
  /** Without `?model=`. */
  readonly url: string;
  readonly model: string;
  readonly voice: string;
  /** Empty: the caller's words are not written down. */
  readonly transcriptionModel: string;
  readonly turnDetection: Json;
  readonly hasTools: boolean;
  readonly tools: VendorTools;
  readonly limitMs: number;
  readonly connectMs: number;
  readonly startMs: number;
  readonly replyMs: number;
  readonly stallMs: number;
};

const STANDARD_URL = 'wss://dashscope.aliyuncs.com/api-ws/v1/realtime';
const MODEL = 'qwen3.5-omni-flash-realtime';
const TRANSCRIPTION = 'qwen3-asr-flash-realtime';
/** These know no functions; newer ones do. */
const WITHOUT_TOOLS = /^(qwen-omni-turbo|qwen3-omni-flash)/;
const FRAME_MS = 100;
const MAX_HISTORY_CHARS = 8_000;

/** Options: realtime_url, transcription_model (`none`: no transcripts), turn detection, tools (by the model's name). */
export function realtime(settings: VendorSettings, tools: VendorTools): RealtimeProvider {
  const model = settings.model ?? textOption(settings, 'realtime_model', MODEL);
  const voice = model.startsWith('qwen-omni-turbo') ? 'Chelsie' : 'Cherry';
  const transcription = textOption(settings, 'transcription_model', TRANSCRIPTION);
  const within = (name: string, standard: number): number =>
    numberOption(settings, name, standard, [50, 60_000]);
  return createQwenOmni({
    ...{ setting: settings.setting, model, tools },
    apiKey: credential(settings, 'api_key'),
    url: urlOption(settings, 'realtime_url', STANDARD_URL),
    voice: settings.voice ?? textOption(settings, 'realtime_voice', voice),
    transcriptionModel: transcription === 'none' ? '' : transcription,
    turnDetection: turnDetectionOf(settings),
    hasTools: flagOption(settings, 'tools', !WITHOUT_TOOLS.test(model)),
    connectMs: within('connect_ms', 3_000),
    startMs: within('start_ms', 3_000),
    replyMs: within('reply_ms', 8_000),
    stallMs: within('stall_ms', 5_000),
    limitMs: numberOption(settings, 'session_limit_ms', 7_200_000, [1_000, 86_400_000]),
  });
}

export function createQwenOmni(options: QwenOmniOptions): RealtimeProvider {
  const { hasTools, tools, replyMs, stallMs, limitMs } = options;
  return {
    ...{ vendor: 'dashscope', hasTools },
    open: (call, signal) =>
      openRealtimeSession(
        {
          ...{ vendor: 'dashscope', hasTools, tools, replyMs, stallMs, limitMs },
          connect: (made, events, life) =>
            openEventsLine(
              {
                ...{ vendor: 'dashscope', setting: options.setting, dialect: 'beta', tools },
                url: `${options.url}?model=${encodeURIComponent(options.model)}`,
                headers: { Authorization: `Bearer ${options.apiKey}` },
                ...{ connectMs: options.connectMs, startMs: options.startMs },
                ...{ input: pcmCoding(16_000), frameMs: FRAME_MS, output: pcmCoding(24_000) },
                session: (each) => omniSessionOf(options, each),
                // Only results of functions may be put into the conversation; nothing can be cut.
                ...{ takesMessages: false, truncates: false, interruptsItself: true },
                finishes: true,
              },
              made,
              events,
              life,
            ),
        },
        call,
        signal,
      ),
  };
}

/** The body of session.update. What was said before goes into the instructions. */
export function omniSessionOf(options: QwenOmniOptions, call: LineCall): Json {
  const before = historyText(call.history);
  const { transcriptionModel, hasTools, voice } = options;
  return {
    ...{ modalities: ['text', 'audio'], voice },
    ...{ input_audio_format: 'pcm', output_audio_format: 'pcm' },
    instructions: [call.instructions, before].filter(Boolean).join('\n\n'),
    ...(transcriptionModel === ''
      ? {}
      : { input_audio_transcription: { model: transcriptionModel } }),
    turn_detection: options.turnDetection,
    ...(hasTools && call.tools.length > 0
      ? {
          tools: call.tools.map(({ name, description, parameters }) => ({
            ...{ type: 'function', name, description, parameters },
          })),
        }
      : {}),
  };
}

function turnDetectionOf(settings: VendorSettings): Json {
  const idleMs = numberOption(settings, 'idle_timeout_ms', 0, [0, 600_000]);
  return {
    type: choiceOption(settings, 'turn_detection', ['server_vad', 'semantic_vad']),
    threshold: numberOption(settings, 'threshold', 0.2, [-1, 1]),
    prefix_padding_ms: numberOption(settings, 'prefix_padding_ms', 300, [0, 5_000]),
    silence_duration_ms: numberOption(settings, 'silence_duration_ms', 500, [200, 6_000]),
    ...(idleMs === 0 ? {} : { idle_timeout_ms: idleMs }),
  };
}

function historyText(history: readonly ChatMessage[]): string {
  if (history.length === 0) return '';
  const lines = history.map(({ role, content, toolCalls = [] }) => {
    const asked = toolCalls.map((call) => `[${call.name} ${JSON.stringify(call.arguments)}]`);
    return `${role}: ${[content, ...asked].filter(Boolean).join(' ')}`;
  });
  return `What was said so far:\n${lines.join('\n').slice(-MAX_HISTORY_CHARS)}`;
}
