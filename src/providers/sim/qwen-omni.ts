/** Qwen-Omni-Realtime on loopback, for tests: providers.md 2.3, events with the names of OpenAI's beta. */
import { isObject, numberAt, objectsAt, pick, textAt, type Json } from '../realtime-json.ts';
import {
  pcmFormat,
  type RealtimeSim,
  type RealtimeSimOptions,
  type RealtimeVendor,
  type Refusal,
} from './openai-realtime-kit.ts';
import { startRealtimeServer } from './openai-realtime-server.ts';

const PATH = '/api-ws/v1/realtime';
const CLIENT_TYPES = new Set([
  ...['session.update', 'session.finish', 'input_image_buffer.append'],
  ...['append', 'commit', 'clear'].map((name) => `input_audio_buffer.${name}`),
  ...['response.create', 'response.cancel', 'conversation.item.create'],
]);
const SESSION_FIELDS = new Set(
  'modalities voice input_audio_format output_audio_format instructions input_audio_transcription turn_detection tools temperature top_p max_tokens'.split(
    ' ',
  ),
);
const INPUT = pcmFormat(16_000);
const OUTPUT = pcmFormat(24_000);
/** The models whose names begin so know no tools. */
const WITHOUT_TOOLS = /^(qwen-omni-turbo|qwen3-omni-flash)/;

export function startQwenOmniSim(options: RealtimeSimOptions): Promise<RealtimeSim> {
  let model = '';
  const vendor: RealtimeVendor = {
    names: {
      audioDelta: 'response.audio.delta',
      audioDone: 'response.audio.done',
      transcriptDelta: 'response.audio_transcript.delta',
      transcriptDone: 'response.audio_transcript.done',
      itemAdded: 'conversation.item.created',
      itemDone: null,
    },
    clientTypes: CLIENT_TYPES,
    sessionDefaults: {
      modalities: ['text', 'audio'],
      voice: 'Cherry',
      input_audio_format: 'pcm',
      output_audio_format: 'pcm',
      turn_detection: { type: 'server_vad', threshold: 0.5, silence_duration_ms: 800 },
    },
    checkSession: (update) => checkSession(update, model),
    checkItem,
    // 100 ms each, as the vendor's own examples send them.
    appendMs: [100, 100],
    inputFormat: () => INPUT,
    outputFormat: () => OUTPUT,
    turnDetection: (session) => {
      const found = pick(session, 'turn_detection');
      return isObject(found) ? found : null;
    },
    hasTranscription: (session) => isObject(pick(session, 'input_audio_transcription')),
  };
  return startRealtimeServer(options, vendor, (request, url) => {
    if (url.pathname !== PATH) return { status: 404, code: 'NotFound' };
    if (request.headers.authorization !== `Bearer ${options.key}`)
      return { status: 401, code: 'InvalidApiKey' };
    model = url.searchParams.get('model') ?? '';
    return model === '' ? { status: 400, code: 'InvalidParameter' } : null;
  });
}

function checkSession(update: Json, model: string): Refusal | null {
  const unknown = Object.keys(update).find((key) => !SESSION_FIELDS.has(key));
  if (unknown !== undefined) return invalid(unknown);
  for (const name of ['input_audio_format', 'output_audio_format']) {
    if (update[name] !== undefined && update[name] !== 'pcm') return invalid(name);
  }
  const detection = update['turn_detection'];
  if (detection !== undefined && detection !== null) {
    const type = textAt(detection, 'type');
    const threshold = numberAt(detection, 'threshold') ?? 0;
    const silenceMs = numberAt(detection, 'silence_duration_ms') ?? 800;
    const isKnown =
      type === 'server_vad' || (type === 'semantic_vad' && /^qwen3\.[5-9]/.test(model));
    if (!isKnown || threshold < -1 || threshold > 1 || silenceMs < 200 || silenceMs > 6000)
      return invalid('turn_detection');
  }
  const tools = objectsAt(update, 'tools');
  if (tools.length > 0 && WITHOUT_TOOLS.test(model)) return invalid('tools');
  return tools.every(
    (tool) => textAt(tool, 'name') !== '' || textAt(tool, 'function', 'name') !== '',
  )
    ? null
    : invalid('tools');
}

/** Only the results of tools may be put into the conversation. */
function checkItem(item: Json): Refusal | null {
  const isResult = textAt(item, 'type') === 'function_call_output';
  return isResult && typeof item['output'] === 'string' ? null : invalid('item');
}

function invalid(param: string): Refusal {
  return { code: 'invalid_value', message: `Invalid value: '${param}'.`, param };
}
