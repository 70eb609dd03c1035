/**
 * Recognition and synthesis through the Aliyun account (contract 2.2). Requests are checked as the contract has them;
 * this version has no client for the vendor, so a right one is answered with PROVIDER_NOT_CONFIGURED.
 */
import { Type } from 'typebox';
import {
  acceptAudio,
  AUDIO_BODY_BYTES,
  AUDIO_TYPES,
  AudioBody,
  boundUploads,
  speechOf,
} from './audio-body.ts';
import { Problem } from './problem.ts';
import type { ApiServer } from './routing.ts';
import { answers, failures } from './schemas.ts';
import { addSocketRoute } from './socket-route.ts';
import { validatorCompiler } from './validation.ts';
import { NoQuery } from './vendor-fields.ts';

const MAX_AUDIO_S = 60;
const DEFAULT_RATE = 16_000;
const TAGS = ['Vendors'];

const whole = (values: readonly number[], description: string) =>
  Type.Unsafe<number>({ type: 'integer', enum: values, description });
const adjustment = (minimum: number, maximum: number) =>
  Type.Optional(Type.Integer({ minimum, maximum }));

const AsrQuery = Type.Object(
  {
    sample_rate: Type.Optional(whole([8_000, 16_000], 'Default 16000; WAV tells its own')),
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
        confidence: Type.Number(),
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
    voice: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, description: 'Default xiaoyun' }),
    ),
    format: Type.Optional(Type.Enum(['pcm', 'wav', 'mp3'], { description: 'Default pcm' })),
    sample_rate: Type.Optional(whole([8_000, 16_000, 24_000], 'Default 16000')),
    volume: adjustment(0, 100),
    speech_rate: adjustment(-500, 500),
    pitch_rate: adjustment(-500, 500),
  },
  { additionalProperties: false, examples: [{ text: 'Hello.', format: 'wav' }] },
);

export function addAliyunSpeechRoutes(app: ApiServer): void {
  // A scope of its own: these bodies are audio, those of every other route are not.
  app.register(async (scope) => {
    const own = scope as unknown as ApiServer;
    boundUploads(own);
    acceptAudio(own);
    addAsr(own);
  });
  addTts(app);
  addSocket(app, 'asr');
  addSocket(app, 'tts');
}

function addAsr(app: ApiServer): void {
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
    handler: async (request) => {
      const rate = request.query.sample_rate ?? DEFAULT_RATE;
      speechOf(request.body, request.headers['content-type'], rate, MAX_AUDIO_S);
      throw new Problem('PROVIDER_NOT_CONFIGURED');
    },
  });
}

function addTts(app: ApiServer): void {
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
    handler: async () => {
      throw new Problem('PROVIDER_NOT_CONFIGURED');
    },
  });
}

function binary(description: string): object {
  return { type: 'string', format: 'binary', description };
}

function addSocket(app: ApiServer, kind: 'asr' | 'tts'): void {
  addSocketRoute(app, {
    url: `/api/v1/aliyun/${kind}/stream`,
    capability: 'dev',
    schema: {
      operationId: kind === 'asr' ? 'streamRecognition' : 'streamSynthesis',
      tags: TAGS,
      summary: kind === 'asr' ? 'Read speech as it is spoken' : 'Say a text as it is written',
      description: 'A WebSocket. Refusals come before the upgrade.',
      problems: ['PROVIDER_NOT_CONFIGURED'],
    },
    guard: refuseUnset,
    open: refuseUnset,
  });
}

function refuseUnset(): never {
  throw new Problem('PROVIDER_NOT_CONFIGURED');
}
