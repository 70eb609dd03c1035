/** OpenAI's Realtime service (GA) on loopback, for tests: providers.md 8.1, with what it refuses. */
import { isObject, objectsAt, pick, textAt, type Json } from '../realtime-json.ts';
import {
  g711Format,
  pcmFormat,
  type AudioFormat,
  type RealtimeSim,
  type RealtimeSimOptions,
  type RealtimeVendor,
  type Refusal,
} from './openai-realtime-kit.ts';
import { startRealtimeServer } from './openai-realtime-server.ts';

const PATH = '/v1/realtime';
const VOICES = 'alloy ash ballad coral echo sage shimmer verse marin cedar'.split(' ');
const SESSION_FIELDS = new Set(
  'type output_modalities instructions audio tools tool_choice parallel_tool_calls reasoning truncation max_output_tokens tracing prompt include model'.split(
    ' ',
  ),
);
const CLIENT_TYPES = new Set([
  'session.update',
  ...['append', 'commit', 'clear'].map((name) => `input_audio_buffer.${name}`),
  ...['create', 'delete', 'retrieve', 'truncate'].map((name) => `conversation.item.${name}`),
  ...['create', 'cancel'].map((name) => `response.${name}`),
]);

const VENDOR: RealtimeVendor = {
  names: {
    audioDelta: 'response.output_audio.delta',
    audioDone: 'response.output_audio.done',
    transcriptDelta: 'response.output_audio_transcript.delta',
    transcriptDone: 'response.output_audio_transcript.done',
    itemAdded: 'conversation.item.added',
    itemDone: 'conversation.item.done',
  },
  clientTypes: CLIENT_TYPES,
  sessionDefaults: {
    type: 'realtime',
    output_modalities: ['audio'],
    instructions: '',
    audio: {
      input: {
        format: { type: 'audio/pcm', rate: 24_000 },
        transcription: null,
        turn_detection: { type: 'server_vad', threshold: 0.5, silence_duration_ms: 500 },
      },
      output: { format: { type: 'audio/pcm', rate: 24_000 }, voice: 'alloy', speed: 1 },
    },
    tools: [],
    tool_choice: 'auto',
  },
  checkSession,
  checkItem,
  appendMs: [0.1, 60_000],
  inputFormat: (session) => formatOf(pick(session, 'audio', 'input', 'format')) as AudioFormat,
  outputFormat: (session) => formatOf(pick(session, 'audio', 'output', 'format')) as AudioFormat,
  turnDetection: (session) => {
    const found = pick(session, 'audio', 'input', 'turn_detection');
    return isObject(found) ? found : null;
  },
  hasTranscription: (session) => isObject(pick(session, 'audio', 'input', 'transcription')),
};

/** Serves TLS where `tls` is given: the official client speaks nothing else. */
export function startOpenAiRealtimeSim(options: RealtimeSimOptions): Promise<RealtimeSim> {
  return startRealtimeServer(options, VENDOR, (request, url) => {
    if (url.pathname !== PATH) return { status: 404, code: 'not_found' };
    if (request.headers.authorization !== `Bearer ${options.key}`)
      return { status: 401, code: 'invalid_api_key' };
    if (!url.searchParams.has('model')) return { status: 400, code: 'missing_model' };
    if (request.headers['openai-beta'] !== undefined)
      return { status: 400, code: 'beta_api_shape_disabled' };
    return null;
  });
}

/** Null for none that there is. */
function formatOf(format: unknown): AudioFormat | null {
  const type = textAt(format, 'type');
  if (type === 'audio/pcmu') return g711Format('PCMU');
  if (type === 'audio/pcma') return g711Format('PCMA');
  return type === 'audio/pcm' && pick(format, 'rate') === 24_000 ? pcmFormat(24_000) : null;
}

function checkSession(update: Json, current: Json, hasSpoken: boolean): Refusal | null {
  if (update['type'] !== 'realtime') return missing('session.type');
  const unknown = Object.keys(update).find((key) => !SESSION_FIELDS.has(key));
  if (unknown !== undefined) {
    const param = `session.${unknown}`;
    return { code: 'unknown_parameter', message: `Unknown parameter: '${param}'.`, param };
  }
  for (const side of ['input', 'output']) {
    const format = pick(update, 'audio', side, 'format');
    if (format !== undefined && formatOf(format) === null)
      return invalid(`session.audio.${side}.format`);
  }
  const voice = pick(update, 'audio', 'output', 'voice');
  if (voice !== undefined && !VOICES.some((each) => each === voice))
    return invalid('session.audio.output.voice');
  if (hasSpoken && voice !== undefined && voice !== pick(current, 'audio', 'output', 'voice')) {
    const message = 'Cannot update a conversation’s voice if assistant audio is present.';
    return { code: 'cannot_update_voice', message };
  }
  const speed = pick(update, 'audio', 'output', 'speed') ?? 1;
  if (typeof speed !== 'number' || speed < 0.25 || speed > 1.5)
    return invalid('session.audio.output.speed');
  return checkDetection(pick(update, 'audio', 'input', 'turn_detection')) ?? checkTools(update);
}

function checkDetection(detection: unknown): Refusal | null {
  if (detection === undefined || detection === null) return null;
  const type = textAt(detection, 'type');
  const param = 'session.audio.input.turn_detection';
  if (!isObject(detection) || (type !== 'server_vad' && type !== 'semantic_vad'))
    return invalid(param);
  const known = ['type', 'create_response', 'interrupt_response'];
  if (type === 'server_vad')
    known.push('threshold', 'prefix_padding_ms', 'silence_duration_ms', 'idle_timeout_ms');
  else known.push('eagerness');
  const odd = Object.keys(detection).find((key) => !known.includes(key));
  return odd === undefined ? null : invalid(`${param}.${odd}`);
}

function checkTools(update: Json): Refusal | null {
  if (update['tools'] === undefined) return null;
  const bad = objectsAt(update, 'tools').find(
    (tool) => tool['type'] !== 'function' || textAt(tool, 'name') === '' || 'function' in tool,
  );
  return bad === undefined ? null : invalid('session.tools');
}

function checkItem(item: Json): Refusal | null {
  const type = textAt(item, 'type');
  if (type === 'function_call_output') {
    return typeof item['output'] === 'string' ? null : missing('item.output');
  }
  if (type === 'function_call') {
    const isWhole = typeof item['arguments'] === 'string' && textAt(item, 'name') !== '';
    return isWhole ? null : missing('item.arguments');
  }
  if (type !== 'message') return invalid('item.type');
  const wanted: Readonly<Record<string, readonly string[]>> = {
    user: ['input_text', 'input_audio', 'input_image'],
    system: ['input_text'],
    assistant: ['output_text', 'output_audio'],
  };
  const allowed = wanted[textAt(item, 'role')];
  if (allowed === undefined) return invalid('item.role');
  const content = objectsAt(item, 'content');
  const isFine = content.every((part) => allowed.includes(textAt(part, 'type')));
  return isFine && content.length > 0 ? null : invalid('item.content');
}

function invalid(param: string): Refusal {
  return { code: 'invalid_value', message: `Invalid value: '${param}'.`, param };
}

function missing(param: string): Refusal {
  const message = `Missing required parameter: '${param}'.`;
  return { code: 'missing_required_parameter', message, param };
}
