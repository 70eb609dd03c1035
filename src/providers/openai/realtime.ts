/** OpenAI Realtime, speech to speech, and the servers that speak as it does (providers.md 8.1). */
import type { RealtimeProvider } from '../contract.ts';
import type { Coding } from '../realtime-audio.ts';
import { wireFormat, type DialectName } from '../realtime-dialect.ts';
import { openEventsLine } from '../realtime-events-line.ts';
import type { Json } from '../realtime-json.ts';
import type { LineCall } from '../realtime-line.ts';
import { openRealtimeSession } from '../realtime-session.ts';
import type { VendorTools } from '../vendor.ts';

export type OpenAiRealtimeOptions = {
  /** Whom to name when something in here is refused. */
  readonly setting: string;
  readonly apiKey: string;
  /** Without `?model=`. */
  readonly url: string;
  readonly model: string;
  readonly voice: string;
  /** 0.25-1.5. */
  readonly speed: number;
  readonly maxTokens: number | null;
  readonly dialect: DialectName;
  /** `line`: the codec of the call, where it is G.711; `pcm`: always 24 kHz. */
  readonly audio: 'line' | 'pcm';
  /** Empty: the caller's words are not written down. */
  readonly transcriptionModel: string;
  /** The `turn_detection` of the session. */
  readonly turnDetection: Json;
  readonly interruptsItself: boolean;
  readonly noiseReduction: 'near_field' | 'far_field' | null;
  readonly safetyId: string;
  /** PEM of a private authority; empty: the usual ones. */
  readonly ca: string;
  readonly tools: VendorTools;
  readonly limitMs?: number;
  readonly connectMs?: number;
  readonly startMs?: number;
  readonly replyMs?: number;
  readonly stallMs?: number;
};

/** The vendor ends a session after so long, whatever goes on in it. */
const LIMIT_MS = 60 * 60_000;

export function createOpenAiRealtime(options: OpenAiRealtimeOptions): RealtimeProvider {
  const { replyMs, stallMs, limitMs = LIMIT_MS, tools } = options;
  return {
    ...{ vendor: 'openai', hasTools: true },
    open: (call, signal) =>
      openRealtimeSession(
        {
          ...{ vendor: 'openai', hasTools: true, tools, limitMs },
          ...(replyMs === undefined ? {} : { replyMs }),
          ...(stallMs === undefined ? {} : { stallMs }),
          connect: (made, events, life) => connect(options, made, events, life),
        },
        call,
        signal,
      ),
  };
}

function connect(
  options: OpenAiRealtimeOptions,
  call: LineCall,
  ...[events, signal]: [Parameters<typeof openEventsLine>[2], AbortSignal]
): ReturnType<typeof openEventsLine> {
  const { coding } = formatOf(options, call);
  const { apiKey, safetyId, dialect, ca, connectMs, startMs } = options;
  const settings = {
    ...{ vendor: 'openai', setting: options.setting, dialect, tools: options.tools },
    url: `${options.url}?model=${encodeURIComponent(options.model)}`,
    headers: {
      Authorization: `Bearer ${apiKey}`,
      ...(safetyId === '' ? {} : { 'OpenAI-Safety-Identifier': safetyId }),
      ...(dialect === 'beta' ? { 'OpenAI-Beta': 'realtime=v1' } : {}),
    },
    ...(ca === '' ? {} : { tls: { ca } }),
    ...(connectMs === undefined ? {} : { connectMs }),
    ...(startMs === undefined ? {} : { startMs }),
    ...{ input: coding, output: coding, frameMs: null },
    session: (made: LineCall) =>
      dialect === 'ga' ? sessionOf(options, made) : betaSessionOf(options, made),
    ...{ takesMessages: true, truncates: true, finishes: false },
    interruptsItself: options.interruptsItself,
  };
  return openEventsLine(settings, call, events, signal);
}

function formatOf(
  { audio }: OpenAiRealtimeOptions,
  { codec }: LineCall,
): ReturnType<typeof wireFormat> & { readonly coding: Coding } {
  return wireFormat(audio === 'pcm' ? 'L16' : codec);
}

/** The body of session.update, GA. */
export function sessionOf(options: OpenAiRealtimeOptions, call: LineCall): Json {
  const format = formatOf(options, call).ga;
  return {
    ...{ type: 'realtime', output_modalities: ['audio'], instructions: call.instructions },
    audio: {
      input: {
        format,
        noise_reduction: options.noiseReduction === null ? null : { type: options.noiseReduction },
        transcription: transcriptionOf(options, call),
        turn_detection: options.turnDetection,
      },
      output: { format, voice: options.voice, speed: options.speed },
    },
    ...toolsOf(call),
    ...(options.maxTokens === null ? {} : { max_output_tokens: options.maxTokens }),
  };
}

/** The same for servers that still speak the beta. */
export function betaSessionOf(options: OpenAiRealtimeOptions, call: LineCall): Json {
  const format = formatOf(options, call).beta;
  return {
    ...{ modalities: ['text', 'audio'], instructions: call.instructions, voice: options.voice },
    ...{ input_audio_format: format, output_audio_format: format },
    input_audio_transcription: transcriptionOf(options, call),
    turn_detection: options.turnDetection,
    ...toolsOf(call),
    ...(options.maxTokens === null ? {} : { max_response_output_tokens: options.maxTokens }),
  };
}

function transcriptionOf(
  { transcriptionModel }: OpenAiRealtimeOptions,
  call: LineCall,
): Json | null {
  return transcriptionModel === '' ? null : { model: transcriptionModel, language: call.language };
}

function toolsOf({ tools }: LineCall): Json {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(({ name, description, parameters }) => ({
      ...{ type: 'function', name, description, parameters },
    })),
    tool_choice: 'auto',
  };
}
