/** Recognition and synthesis through the Aliyun account (contract 2.2): clients of ours need no client of the vendor's. */
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { openAsrSocket } from './aliyun-asr-socket.ts';
import { speechReader } from './aliyun-listen.ts';
import { speechProblem } from './aliyun-problem.ts';
import type { AliyunSpeech, HeardSentence } from './aliyun-speech-port.ts';
import { openTtsSocket } from './aliyun-tts-socket.ts';
import { voiceFields } from './aliyun-voice.ts';
import {
  acceptAudio,
  AUDIO_BODY_BYTES,
  AUDIO_TYPES,
  AudioBody,
  boundUploads,
  speechOf,
} from './audio-body.ts';
import { EventStreams } from './event-streams.ts';
import { Problem } from './problem.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { answers, failures, nullable, ok } from './schemas.ts';
import { addSocketRoute } from './socket-route.ts';
import { validatorCompiler } from './validation.ts';
import { NoQuery } from './vendor-fields.ts';
import { fromVendor } from './vendor-part.ts';

const MAX_AUDIO_S = 60;
const DEFAULT_RATE = 16_000;
const TAGS = ['Vendors'];

/** Answers under way at one time, each of up to a few megabytes. */
const MAX_READING = 64;
const MAX_SPEAKING = 64;
/** One account leaves places to the others. */
const MAX_OF_ONE = 48;
/** Contract 2.2: no frame for so long. */
const SILENCE_MS = 60_000;

export type AliyunSpeechPart = {
  readonly aliyunSpeech: AliyunSpeech;
  readonly clock: Clock;
  readonly log: Log;
};

const AsrQuery = Type.Object(
  {
    sample_rate: Type.Optional(
      Type.Unsafe<8_000 | 16_000>({
        ...{ type: 'integer', enum: [8_000, 16_000] },
        description: 'Default 16000; WAV tells its own',
      }),
    ),
    punctuation: Type.Optional(Type.Boolean({ description: 'Default true' })),
  },
  { additionalProperties: false },
);

const RecognisedSchema = Type.Object(
  {
    text: Type.String(),
    segments: Type.Array(
      Type.Object({
        text: Type.String(),
        begin_ms: Type.Integer(),
        end_ms: Type.Integer(),
        confidence: nullable(Type.Number({ description: '0 to 1; null: not told' })),
      }),
    ),
    duration_ms: Type.Integer(),
  },
  {
    examples: [
      {
        text: 'Hello.',
        segments: [{ text: 'Hello.', begin_ms: 120, end_ms: 640, confidence: 0.98 }],
        duration_ms: 900,
      },
    ],
  },
);

const TtsBody = Type.Object(
  {
    text: Type.String({ minLength: 1, maxLength: 2_000 }),
    ...voiceFields,
  },
  { additionalProperties: false, examples: [{ text: 'Hello.', format: 'wav' }] },
);

export function addAliyunSpeechRoutes(app: ApiServer, part: AliyunSpeechPart): void {
  const { clock } = part;
  const reading = new EventStreams({ clock, max: MAX_READING, maxOfOne: MAX_OF_ONE });
  const speaking = new EventStreams({ clock, max: MAX_SPEAKING, maxOfOne: MAX_OF_ONE });
  app.addHook('preClose', async () => {
    await Promise.all([reading.close(), speaking.close()]);
  });
  // A scope of its own: these bodies are audio, those of every other route are not.
  app.register(async (scope) => {
    const own = scope as unknown as ApiServer;
    boundUploads(own);
    acceptAudio(own);
    addAsr(own, part, reading);
  });
  addTts(app, part, speaking);
  addSocket(app, part, 'asr');
  addSocket(app, part, 'tts');
}

function addAsr(app: ApiServer, part: AliyunSpeechPart, reading: EventStreams): void {
  const read = speechReader(part);
  app.route({
    method: 'POST',
    url: '/api/v1/aliyun/asr',
    config: { capability: 'dev' },
    bodyLimit: AUDIO_BODY_BYTES,
    // Bytes are looked at by the handler; what comes in the query, as everywhere.
    validatorCompiler: (route) =>
      route.httpPart === 'body' ? (value) => ({ value }) : validatorCompiler(route as never),
    schema: {
      operationId: 'recogniseSpeech',
      tags: TAGS,
      summary: 'Read speech of at most 60 s',
      consumes: [...AUDIO_TYPES],
      querystring: AsrQuery,
      body: AudioBody,
      response: answers(200, RecognisedSchema, {
        ...{ description: 'What was said', hasBody: true },
        problems: ['PROVIDER_NOT_CONFIGURED', 'PROVIDER_REJECTED', 'PROVIDER_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const { sample_rate: rateHz = DEFAULT_RATE, punctuation = true } = request.query;
      const speech = speechOf(request.body, request.headers['content-type'], rateHz, MAX_AUDIO_S);
      // Its bytes are read: they need not be kept while the vendor listens.
      request.body = undefined as never;
      request.uploadEnded?.();
      const { accountId } = callerOf(request);
      const { signal } = reading.enter(reply, accountId);
      const work = read({ accountId, speech, hasPunctuation: punctuation }, signal);
      const heard = await work.catch((error: unknown) => {
        throw speechProblem(error, signal);
      });
      return ok(recognised(part, heard, speech.durationMs));
    },
  });
}

function recognised(
  { aliyunSpeech }: AliyunSpeechPart,
  heard: readonly HeardSentence[],
  durationMs: number,
) {
  const said = heard.filter(({ text }) => text !== '');
  return {
    text: aliyunSpeech.joined(said.map(({ text }) => text)),
    segments: said.map(({ text, beginMs, endMs, confidence }) => ({
      ...{ text, begin_ms: beginMs ?? 0, end_ms: Math.min(endMs ?? durationMs, durationMs) },
      confidence,
    })),
    duration_ms: durationMs,
  };
}

function addTts(app: ApiServer, part: AliyunSpeechPart, speaking: EventStreams): void {
  const audio = (description: string) => ({ schema: Type.Unsafe<Buffer>(binary(description)) });
  app.route({
    method: 'POST',
    url: '/api/v1/aliyun/tts',
    config: { capability: 'dev' },
    schema: {
      operationId: 'synthesiseSpeech',
      tags: TAGS,
      summary: 'Say a text',
      querystring: NoQuery,
      body: TtsBody,
      response: {
        200: {
          description: 'Audio, as it is made',
          content: {
            'audio/pcm': audio('s16le, mono; the rate is in the media type'),
            'audio/wav': audio('16-bit PCM, mono'),
            'audio/mpeg': audio('MP3'),
          },
        },
        ...failures({
          hasBody: true,
          problems: ['PROVIDER_NOT_CONFIGURED', 'PROVIDER_REJECTED', 'PROVIDER_TIMEOUT'],
        }),
      },
    },
    handler: async (request, reply) => {
      const {
        text,
        voice = 'xiaoyun',
        format = 'pcm',
        sample_rate: rateHz = 16_000,
      } = request.body;
      const {
        volume = null,
        speech_rate: speechRate = null,
        pitch_rate: pitchRate = null,
      } = request.body;
      const { accountId } = callerOf(request);
      const { signal } = speaking.enter(reply, accountId);
      const wanted = { voice, format, rateHz, volume, speechRate, pitchRate } as const;
      const options = { ...wanted, texts: only(text), isWhole: true };
      const sound = part.aliyunSpeech.speak(accountId, options, signal);
      // With the first of it in hand it is known whether there will be any: refusals come as refusals.
      const first = await fromVendor(part, sound.next()).catch((error: unknown) => {
        throw speechProblem(error, signal);
      });
      const stream = Readable.from(rest(part, request.id, first, sound), { objectMode: false });
      // The schema has bytes, which is what the client gets of it.
      return reply.type(typeOf(format, rateHz)).send(stream as never);
    },
  });
}

function typeOf(format: 'pcm' | 'wav' | 'mp3', rateHz: number): string {
  if (format === 'pcm') return `audio/pcm;rate=${rateHz}`;
  return format === 'wav' ? 'audio/wav' : 'audio/mpeg';
}

async function* only(text: string): AsyncGenerator<string, void> {
  yield text;
}

/** What fails now can only cut the answer short: the client sees that it has no end. */
async function* rest(
  { log }: AliyunSpeechPart,
  requestId: string,
  first: IteratorResult<Uint8Array>,
  sound: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  try {
    if (first.done === true) return;
    yield first.value;
    yield* sound;
  } catch (error) {
    log.warn('aliyunSpeech.cut', { requestId, error });
    throw error;
  } finally {
    await sound.return(undefined);
  }
}

function binary(description: string): object {
  return { type: 'string', format: 'binary', description };
}

function addSocket(app: ApiServer, part: AliyunSpeechPart, kind: 'asr' | 'tts'): void {
  addSocketRoute(app, {
    url: `/api/v1/aliyun/${kind}/stream`,
    capability: 'dev',
    silenceMs: SILENCE_MS,
    schema: {
      operationId: kind === 'asr' ? 'streamRecognition' : 'streamSynthesis',
      tags: TAGS,
      summary: kind === 'asr' ? 'Read speech as it is spoken' : 'Say a text as it is written',
      description: kind === 'asr' ? ASR_FRAMES : TTS_FRAMES,
      problems: ['PROVIDER_NOT_CONFIGURED'],
    },
    guard: async ({ caller }) => {
      const hasAccount = await part.aliyunSpeech
        .hasAccount(caller.accountId)
        .catch((error: unknown) => {
          throw speechProblem(error);
        });
      if (!hasAccount) throw new Problem('PROVIDER_NOT_CONFIGURED');
    },
    open: (session) =>
      kind === 'asr' ? openAsrSocket(part, session) : openTtsSocket(part, session),
  });
}

const FRAMES_OF_ALL =
  'Refusals come before the upgrade. `error {code, message}` comes before the end of a socket that failed; one that is over ends with 1000; no frame for 60 s closes with 4408.';

const ASR_FRAMES = [
  'A WebSocket. Up: `start {sample_rate?, interim?, punctuation?}`, binary 16-bit little-endian mono, `stop`.',
  'Down: `ready`, `partial {index, text, begin_ms}`, `final {index, text, begin_ms, end_ms, confidence}`, `done`.',
  `Audio before \`start\` closes with 1003. ${FRAMES_OF_ALL}`,
].join(' ');

const TTS_FRAMES = [
  'A WebSocket. Up: `start {voice?, format?, sample_rate?, volume?, speech_rate?, pitch_rate?}`, `text {text}` in pieces, `stop`.',
  `Down: \`ready\`, binary audio, \`done\`. Binary frames close with 1003. ${FRAMES_OF_ALL}`,
].join(' ');
