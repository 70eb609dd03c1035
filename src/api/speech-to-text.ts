/** A recording read by the account's recogniser (contract 2.6 row 11): uploaded as a form, raw, or inside JSON. */
import multipart from '@fastify/multipart';
import { Type, type Static } from 'typebox';
import type { FastifyRequest } from 'fastify';
import { AppError } from '#lib/errors.ts';
import { MAX_RATE_HZ, MIN_RATE_HZ, readPcm, readWav } from '#lib/wav-read.ts';
import { RecognisedSchema } from './ai-schemas.ts';
import { AUDIO_BODY_BYTES as MAX_BYTES, boundUploads } from './audio-body.ts';
import { whenClosed } from './closed-reply.ts';
import { languageOf } from './language.ts';
import { invalid, Problem } from './problem.ts';
import { callerOf, type ApiServer } from './routing.ts';
import { answers, ok } from './schemas.ts';
import type { IntelligencePart } from './summary.ts';
import { validatorCompiler } from './validation.ts';
import { vendorProblem } from './vendor-part.ts';

/** Contract 2.6 row 11. */
const MAX_SECONDS = 300;
const DEFAULT_RATE_HZ = 16_000;
export const WAV_TYPES = ['audio/wav', 'audio/x-wav', 'audio/wave', 'audio/vnd.wave'];
/** Not audio/l16, whose samples are big-endian (RFC 2586). */
export const PCM_TYPES = ['audio/pcm', 'audio/x-pcm'];
const FORM_TYPE = 'multipart/form-data';

const RateSchema = Type.Optional(
  Type.Integer({
    minimum: MIN_RATE_HZ,
    maximum: MAX_RATE_HZ,
    description: `Of bare PCM; default ${DEFAULT_RATE_HZ}. WAV tells its own`,
  }),
);
const LanguageSchema = Type.Optional(
  Type.Enum(['zh', 'en'], { description: 'Default: the account’s' }),
);

const Query = Type.Object({ sampleRate: RateSchema, language: LanguageSchema });

const JsonBody = Type.Object(
  {
    audio: Type.String({ minLength: 1, description: 'Base64' }),
    format: Type.Optional(Type.Enum(['wav', 'pcm'], { description: 'Default wav' })),
    sampleRate: RateSchema,
    language: LanguageSchema,
  },
  { examples: [{ audio: 'UklGRiQAAABXQVZF…', format: 'wav', sampleRate: 8000 }] },
);

type QueryFields = Static<typeof Query>;
type JsonFields = Static<typeof JsonBody>;

/** For the document alone: bytes are not checked against a schema. */
const binary = { type: 'string', format: 'binary', description: '16-bit PCM, mono or stereo' };
const RawBody = Type.Unsafe<Buffer>(binary);
const FormBody = Type.Unsafe<unknown>({
  type: 'object',
  required: ['file'],
  properties: {
    file: binary,
    sampleRate: { type: 'integer' },
    language: { type: 'string', enum: ['zh', 'en'] },
  },
});
const checkJson = validatorCompiler({ schema: JsonBody, httpPart: 'body' } as never);

export function addSpeechToTextRoute(app: ApiServer, part: IntelligencePart): void {
  // A scope of its own: no other route takes forms or audio.
  app.register(async (encapsulated) => {
    const scope = encapsulated as unknown as ApiServer;
    boundUploads(scope);
    await scope.register(multipart, {
      limits: { fileSize: MAX_BYTES, files: 1, fields: 8, parts: 9, fieldSize: 256 },
    });
    scope.addContentTypeParser<Buffer>(
      [...WAV_TYPES, ...PCM_TYPES],
      { parseAs: 'buffer', bodyLimit: MAX_BYTES },
      async (_request: unknown, body: Buffer) => body,
    );
    addRoute(scope, part);
  });
}

function addRoute(scope: ApiServer, part: IntelligencePart): void {
  scope.route({
    method: 'POST',
    url: '/api/call-center/ai/speech-to-text',
    config: { capability: 'ops' },
    bodyLimit: MAX_BYTES,
    // The body's form depends on its media type: the handler looks at it; the query is checked as everywhere.
    validatorCompiler: (route) =>
      route.httpPart === 'body' ? (value) => ({ value }) : validatorCompiler(route as never),
    schema: {
      operationId: 'recogniseRecording',
      tags: ['Intelligence'],
      summary: 'Read a recording of at most 5 minutes',
      description: 'WAV (16-bit PCM, mono or stereo) or bare 16-bit little-endian mono samples.',
      querystring: Query,
      body: {
        content: {
          [FORM_TYPE]: { schema: FormBody },
          'audio/wav': { schema: RawBody },
          'audio/pcm': { schema: RawBody },
          'application/json': { schema: JsonBody },
        },
      },
      response: answers(200, RecognisedSchema, {
        ...{ description: 'What was said', hasBody: true, hasMessage: true },
        problems: ['PROVIDER_NOT_CONFIGURED', 'PROVIDER_REJECTED', 'PROVIDER_TIMEOUT'],
      }),
    },
    handler: async (request, reply) => {
      const left = new AbortController();
      whenClosed(reply, () => left.abort());
      const { pcm, rateHz, language } = speechOf(await uploadOf(request));
      const { accountId } = callerOf(request);
      const work = part.intelligence.recognise(accountId, pcm, rateHz, language, left.signal);
      const heard = await work.catch((error: unknown) => {
        throw sttProblem(error);
      });
      if (heard === null) throw new Problem('PROVIDER_NOT_CONFIGURED');
      const isZh = languageOf(request.headers['accept-language']) === 'zh';
      const segments = heard.segments.map((segment) => ({ ...segment }));
      return ok({ ...heard, segments }, isZh ? '识别完成' : 'recording read');
    },
  });
}

/** A recording as it came, and what was said of it. */
type Upload = {
  readonly bytes: Uint8Array;
  /** Where faults of the audio are: a JSON pointer. */
  readonly path: string;
  readonly format: 'wav' | 'pcm';
  readonly sampleRate: number | undefined;
  readonly language: 'zh' | 'en' | undefined;
};

async function uploadOf(request: FastifyRequest): Promise<Upload> {
  const query = request.query as QueryFields;
  if (request.isMultipart()) return formUpload(request, query);
  const { body } = request;
  if (Buffer.isBuffer(body)) {
    const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
    const format = WAV_TYPES.includes(type ?? '') ? 'wav' : 'pcm';
    return {
      bytes: body,
      path: '',
      format,
      ...{ sampleRate: rateOf(request.headers['content-type']), language: undefined, ...query },
    };
  }
  return jsonUpload(body, query);
}

/** `audio/pcm;rate=8000`, as our own synthesis answers; of no use when it is out of range. */
export function rateOf(contentType: string | undefined): number | undefined {
  const rate = Number(/;\s*rate="?([0-9]{4,6})\b/i.exec(contentType ?? '')?.[1]);
  return rate >= MIN_RATE_HZ && rate <= MAX_RATE_HZ ? rate : undefined;
}

function jsonUpload(body: unknown, query: QueryFields): Upload {
  const checked = checkJson(body) as { value?: JsonFields; error?: Problem };
  if (checked.error !== undefined) throw checked.error;
  const { audio, format = 'wav', ...rest } = checked.value as JsonFields;
  // Buffer.from passes over what is no base64: half a recording would be read without a word.
  const padding = audio.endsWith('==') ? 2 : audio.endsWith('=') ? 1 : 0;
  const letters = audio.slice(0, audio.length - padding);
  if (audio.length % 4 !== 0 || letters === '' || /[^A-Za-z0-9+/]/.test(letters)) {
    throw invalid('/audio', 'base64');
  }
  const bytes = Buffer.from(audio, 'base64');
  const { sampleRate = query.sampleRate, language = query.language } = rest;
  return { bytes, path: '/audio', format, sampleRate, language };
}

/** Fields may come before or behind the file. */
async function formUpload(request: FastifyRequest, query: QueryFields): Promise<Upload> {
  let bytes: Buffer | null = null;
  let format: Upload['format'] = 'wav';
  const fields: Record<string, unknown> = { ...query };
  try {
    for await (const item of request.parts()) {
      if (item.type === 'file') {
        if (item.fieldname !== 'file') throw invalid(`/${item.fieldname}`, 'unknown');
        bytes = await item.toBuffer();
        const isPcm = PCM_TYPES.includes(item.mimetype) || /\.(?:pcm|raw)$/i.test(item.filename);
        format = isPcm ? 'pcm' : 'wav';
      } else if (item.fieldname === 'sampleRate' && /^[0-9]{1,7}$/.test(String(item.value))) {
        fields['sampleRate'] = Number(item.value);
      } else if (item.fieldname === 'sampleRate' || item.fieldname === 'language') {
        fields[item.fieldname] = item.value;
      }
    }
  } catch (error) {
    throw formProblem(error);
  }
  if (bytes === null) throw invalid('/file', 'required');
  const checked = checkJson({ ...fields, audio: 'checked elsewhere' }) as { error?: Problem };
  if (checked.error !== undefined) throw checked.error;
  const { sampleRate, language } = fields as QueryFields;
  return { bytes, path: '/file', format, sampleRate, language };
}

function formProblem(error: unknown): unknown {
  if (error instanceof Problem) return error;
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 400;
  if (status === 413) return new Problem('PAYLOAD_TOO_LARGE', { cause: error });
  return new Problem('VALIDATION_FAILED', { faults: [{ path: '', rule: 'form' }], cause: error });
}

type Speech = {
  readonly pcm: Int16Array;
  readonly rateHz: number;
  readonly language: 'zh' | 'en' | null;
};

/** Errors: VALIDATION_FAILED naming what the audio is instead. */
function speechOf({ bytes, path, format, sampleRate, language }: Upload): Speech {
  const audio =
    format === 'wav'
      ? wavOf(bytes, path)
      : { pcm: readPcm(bytes), rateHz: sampleRate ?? DEFAULT_RATE_HZ };
  if (audio.pcm.length === 0) throw invalid(path, 'empty');
  if (audio.pcm.length > MAX_SECONDS * audio.rateHz) {
    throw invalid(path, 'seconds', { limit: MAX_SECONDS });
  }
  return { ...audio, language: language ?? null };
}

function wavOf(bytes: Uint8Array, path: string): Omit<Speech, 'language'> {
  const read = readWav(bytes);
  if (read.ok) return { pcm: read.pcm, rateHz: read.rateHz };
  throw invalid(path, read.fault, read.found === null ? {} : { found: read.found });
}

/** What the vendor did, or did not do in time. */
function sttProblem(error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  const isLate = error.code === 'E_TIMEOUT' && !error.message.startsWith('the database');
  if (isLate) return new Problem('PROVIDER_TIMEOUT', { cause: error });
  if (error.code === 'E_CONFIG') return new Problem('PROVIDER_NOT_CONFIGURED', { cause: error });
  return vendorProblem(error) ?? error;
}
