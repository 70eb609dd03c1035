/** One turn of a spoken conversation over HTTP (contract 2.4, `POST /v1/voice/stream`). */
import { Type, type Static } from 'typebox';
import type { FastifyRequest } from 'fastify';
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { MAX_RATE_HZ, MIN_RATE_HZ, readPcm, readWav } from '#lib/wav-read.ts';
import { OUT_RATE_HZ } from '#sessions/sound-pieces.ts';
import type { Said, VoiceEvent } from '#sessions/spoken-turn.ts';
import type { VoiceRefusal, VoiceTurns } from '#sessions/voice-turns.ts';
import { AUDIO_BODY_BYTES, AudioBody } from './audio-body.ts';
import { whenClosed } from './closed-reply.ts';
import { EventStreams, frameOf, sendEvents, type StreamEvent } from './event-streams.ts';
import { languageOf, type Language } from './language.ts';
import { invalid, Problem, toProblem, type ProblemCode } from './problem.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { EXAMPLE_ID, failures, IdSchema } from './schemas.ts';
import { socketText } from './socket-problems.ts';
import { PCM_TYPES, rateOf, WAV_TYPES } from './speech-to-text.ts';
import { modelProblem } from './squads-execute.ts';
import { validatorCompiler } from './validation.ts';

export type VoiceStreamPart = {
  readonly voiceTurns: VoiceTurns;
  readonly clock: Clock;
  readonly log: Log;
};

const MAX_SECONDS = 60;
const DEFAULT_RATE_HZ = 16_000;
/** Each holds up to 10 s of sound, and a model and a voice at work. */
const MAX_STREAMS = 128;
/** Recordings that are being received, each of up to 25 MiB. */
const MAX_UPLOADS = 16;
const MAX_RESULT_BYTES = 8_000;

const Query = Type.Object(
  {
    assistant_id: Type.Optional(IdSchema),
    conversation_id: Type.Optional(IdSchema),
    sample_rate: Type.Optional(
      Type.Integer({
        minimum: MIN_RATE_HZ,
        maximum: MAX_RATE_HZ,
        description: `Of bare PCM; default ${DEFAULT_RATE_HZ}. WAV tells its own`,
      }),
    ),
  },
  { additionalProperties: false },
);

const JsonBody = Type.Object(
  {
    text: Type.Optional(Type.String({ minLength: 1, maxLength: 4_000 })),
    function_results: Type.Optional(
      Type.Array(
        Type.Object(
          {
            call_id: Type.String({ minLength: 1, maxLength: 128 }),
            result: Type.Unknown({
              description: `Any JSON of at most ${MAX_RESULT_BYTES} bytes`,
            }),
          },
          { additionalProperties: false },
        ),
        { minItems: 1, maxItems: 20, description: 'Answers to `function_call` of the turn before' },
      ),
    ),
  },
  { additionalProperties: false, examples: [{ text: 'When do you open tomorrow?' }] },
);

type QueryFields = Static<typeof Query>;
type JsonFields = Static<typeof JsonBody>;

/** Without those of Idempotency-Key, which is not honoured. */
const PROBLEMS_OF_TURNS: readonly ProblemCode[] = [
  'INVALID_JSON',
  'UNSUPPORTED_MEDIA_TYPE',
  'NOT_FOUND',
  'INVALID_STATE',
  'REFERENCE_NOT_FOUND',
  'PROVIDER_NOT_CONFIGURED',
];

const checkJson = validatorCompiler({ schema: JsonBody, httpPart: 'body' } as never);

const DESCRIPTION = [
  'The body is what the other side says: speech of at most 60 s, or text. The answer is a stream of events, in this order:',
  '`transcript {conversation_id, text, is_final}` · `response {text, is_final}`, the words as they are made, the last one empty and final ·',
  '`audio {audio, sample_rate}`, base64 of 16-bit little-endian mono at 16 kHz, at most 200 ms, in between and behind the words it says ·',
  '`function_call {function_name, arguments, call_id}` · one `done {conversation_id, latency_ms, status, expires_at, pending_calls}`,',
  'or one `error {conversation_id, code, message}` in its place.',
  'Without `conversation_id` a new conversation begins, with `assistant_id` or the default agent; it is kept for 30 min after its last turn.',
  'A turn that asks for functions ends with them; the next request brings `function_results`, with or without `text`.',
  'Speech in which nothing was understood has an empty `transcript` and no answer. Closing the connection stops the agent.',
  '`Idempotency-Key` has no effect.',
].join(' ');

const EXAMPLE_EVENTS: readonly StreamEvent[] = [
  {
    event: 'transcript',
    data: { conversation_id: EXAMPLE_ID, text: 'Are you open now?', is_final: true },
  },
  { event: 'response', data: { text: 'Yes, until six.', is_final: false } },
  { event: 'response', data: { text: '', is_final: true } },
  { event: 'audio', data: { audio: 'AAABAP7/…', sample_rate: OUT_RATE_HZ } },
  {
    event: 'done',
    data: {
      ...{ conversation_id: EXAMPLE_ID, latency_ms: 640, status: 'active' },
      ...{ expires_at: 1_767_227_400, pending_calls: [] },
    },
  },
];

export function addVoiceStreamRoute(app: ApiServer, part: VoiceStreamPart): void {
  const streams = new EventStreams({ clock: part.clock, max: MAX_STREAMS });
  app.addHook('preClose', async () => streams.close());
  // A scope of its own: no other route takes audio and JSON.
  app.register(async (encapsulated) => {
    const scope = encapsulated as unknown as ApiServer;
    boundUploads(scope);
    scope.addContentTypeParser<Buffer>(
      [...WAV_TYPES, ...PCM_TYPES],
      { parseAs: 'buffer', bodyLimit: AUDIO_BODY_BYTES },
      async (_request: unknown, body: Buffer) => body,
    );
    addRoute(scope, part, streams);
  });
}

function addRoute(scope: ApiServer, part: VoiceStreamPart, streams: EventStreams): void {
  scope.route({
    method: 'POST',
    url: '/v1/voice/stream',
    config: { capability: 'ops' },
    // The body's form depends on its media type: the handler looks at it; the query is checked as everywhere.
    validatorCompiler: (route) =>
      route.httpPart === 'body' ? (value) => ({ value }) : validatorCompiler(route as never),
    schema: {
      operationId: 'streamVoiceTurn',
      tags: ['Phone calls'],
      summary: 'Say something to an agent and hear its answer',
      description: DESCRIPTION,
      querystring: Query,
      body: {
        content: {
          'application/json': { schema: JsonBody },
          'audio/wav': { schema: AudioBody },
          'audio/pcm': { schema: AudioBody },
        },
      },
      response: {
        200: {
          description: 'The events',
          content: {
            'text/event-stream': {
              schema: { type: 'string' },
              example: EXAMPLE_EVENTS.map(frameOf).join(''),
            },
          },
        },
        ...failures({ problems: PROBLEMS_OF_TURNS }),
      },
    },
    handler: async (request, reply) => {
      const query = request.query as QueryFields;
      const said = saidIn(request, query);
      // Its bytes are read: they need not be kept while the answer is sent.
      request.body = undefined as never;
      request.uploadEnded?.();
      const { signal } = streams.enter(reply);
      const { accountId, agentIds } = callerOf(request);
      const { assistant_id: agentId, conversation_id: conversationId } = query;
      const begun = await part.voiceTurns
        .begin({
          ...{ accountId, agentIds, said, signal, requestId: request.id },
          ...(agentId === undefined ? {} : { agentId }),
          ...(conversationId === undefined ? {} : { conversationId }),
        })
        .catch((error: unknown) => {
          throw modelProblem(error);
        });
      if (!begun.ok) throw refusalProblem(begun.refusal);
      const language = languageOf(request.headers['accept-language']);
      return sendEvents(reply, eventsOf(part, begun, { language, signal, requestId: request.id }));
    },
  });
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Lets go of the place that a recording on its way in holds. */
    uploadEnded?: () => void;
  }
}

/** More recordings at one time than memory is meant for are refused before their bodies are read. Errors: OVERLOADED. */
function boundUploads(scope: ApiServer): void {
  let uploads = 0;
  scope.addHook('onRequest', async (request, reply) => {
    const type = request.headers['content-type'] ?? '';
    if (!type.toLowerCase().startsWith('audio/')) return;
    if (uploads >= MAX_UPLOADS) throw new Problem('OVERLOADED');
    uploads++;
    let isOn = true;
    request.uploadEnded = () => {
      if (isOn) uploads--;
      isOn = false;
    };
    // Also when the client leaves.
    whenClosed(reply, request.uploadEnded);
  });
}

// ---- What comes in ----

/** Errors: VALIDATION_FAILED. */
function saidIn(request: FastifyRequest, query: QueryFields): Said {
  const { body } = request;
  if (!Buffer.isBuffer(body)) return writtenIn(body);
  const contentType = request.headers['content-type'];
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const audio = WAV_TYPES.includes(type)
    ? wavOf(body)
    : pcmOf(body, query.sample_rate ?? rateOf(contentType) ?? DEFAULT_RATE_HZ);
  if (audio.pcm.length === 0) throw invalid('', 'empty');
  if (audio.pcm.length > MAX_SECONDS * audio.rateHz) {
    throw invalid('', 'seconds', { limit: MAX_SECONDS });
  }
  return { audio, text: null, results: [] };
}

function writtenIn(body: unknown): Said {
  const checked = checkJson(body) as { value?: JsonFields; error?: Problem };
  if (checked.error !== undefined) throw checked.error;
  const { text = null, function_results: given = [] } = checked.value as JsonFields;
  if (text === null && given.length === 0) throw invalid('/text', 'required');
  if (text?.trim() === '') throw invalid('/text', 'minLength', { limit: 1 });
  const seen = new Set<string>();
  const results = given.map(({ call_id: callId, result }, at) => {
    const where = `/function_results/${at}`;
    if (seen.has(callId)) throw invalid(`${where}/call_id`, 'distinct');
    seen.add(callId);
    if (Buffer.byteLength(JSON.stringify(result)) > MAX_RESULT_BYTES) {
      throw invalid(`${where}/result`, 'size', { limit: MAX_RESULT_BYTES });
    }
    return { callId, result };
  });
  return { audio: null, text, results };
}

function wavOf(bytes: Buffer): NonNullable<Said['audio']> {
  const read = readWav(bytes);
  if (read.ok) return { pcm: read.pcm, rateHz: read.rateHz };
  throw invalid('', read.fault, read.found === null ? {} : { found: read.found });
}

function pcmOf(bytes: Buffer, rateHz: number): NonNullable<Said['audio']> {
  if (bytes.length % 2 !== 0) throw invalid('', 'audio');
  return { pcm: readPcm(bytes), rateHz };
}

function refusalProblem(refusal: VoiceRefusal): Problem {
  switch (refusal) {
    case 'agent':
      return missing('?assistant_id');
    case 'conversation':
      return new Problem('NOT_FOUND');
    case 'over':
      return new Problem('INVALID_STATE');
    case 'busy':
      return new Problem('INVALID_STATE', { headers: { 'retry-after': '1' } });
    case 'recogniser':
      return new Problem('PROVIDER_NOT_CONFIGURED');
    default:
      return missing(`/function_results/${refusal}/call_id`);
  }
}

function missing(path: string): Problem {
  return new Problem('REFERENCE_NOT_FOUND', { faults: [{ path, rule: 'exists' }] });
}

// ---- What goes out ----

type Begun = Extract<Awaited<ReturnType<VoiceTurns['begin']>>, { ok: true }>;
type Listener = {
  readonly language: Language;
  readonly signal: AbortSignal;
  readonly requestId: string;
};

async function* eventsOf(
  part: VoiceStreamPart,
  { events, conversationId }: Begun,
  { language, signal, requestId }: Listener,
): AsyncGenerator<StreamEvent, void> {
  const fault = (thrown: unknown): StreamEvent => {
    const problem = toProblem(modelProblem(thrown));
    if (problem.problem === 'INTERNAL') {
      part.log.error('request.failed', { requestId, code: problem.problem, error: problem });
    }
    const told = { code: problem.problem, message: socketText(problem, language) };
    return { event: 'error', data: { conversation_id: conversationId, ...told } };
  };
  for await (const event of events) {
    yield event.type === 'error' ? fault(event.error) : told(event, conversationId);
  }
  if (signal.reason instanceof Problem) yield fault(signal.reason);
}

function told(event: Exclude<VoiceEvent, { type: 'error' }>, conversationId: string): StreamEvent {
  const { type } = event;
  switch (type) {
    case 'transcript':
      return {
        event: type,
        data: { conversation_id: conversationId, text: event.text, is_final: true },
      };
    case 'response':
      return { event: type, data: { text: event.text, is_final: event.isFinal } };
    case 'audio': {
      const { buffer, byteOffset, byteLength } = event.pcm;
      const audio = Buffer.from(buffer, byteOffset, byteLength).toString('base64');
      return { event: type, data: { audio, sample_rate: OUT_RATE_HZ } };
    }
    case 'function_call': {
      const { name, arguments: given, id } = event.call;
      return { event: type, data: { function_name: name, arguments: given, call_id: id } };
    }
    case 'done':
      return {
        event: type,
        data: {
          conversation_id: conversationId,
          latency_ms: event.latencyMs === null ? null : Math.round(event.latencyMs),
          ...{ status: event.status, expires_at: event.expiresAtS },
          pending_calls: event.pendingCalls,
        },
      };
  }
}
