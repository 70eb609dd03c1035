/** Objects in any store that speaks S3. The only importer of its client, which is loaded when a bucket is configured. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type * as S3 from '@aws-sdk/client-s3';
import { systemClock, type Clock } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';

export type ObjectStorageSettings = {
  readonly bucket: string;
  /** Without slashes at its ends; empty: none. */
  readonly prefix: string;
  readonly region: string;
  /** Null: Amazon's own for the region. */
  readonly endpoint: string | null;
  readonly pathStyle: boolean;
  /** Null: where the client looks by itself (environment, instance role). */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null;
};

/** Errors of all: E_STORAGE when the store is away or refuses. */
export type ObjectStorage = {
  /** The `s3://` URI of what is put under `name`. */
  uriOf(name: string): string;
  /**
   * Puts a file under `name` below the prefix and gives its URI. It is complete there when this resolves; what rejects,
   * also by `signal`, may be there all the same.
   */
  putFile(name: string, path: string, signal?: AbortSignal): Promise<string>;
  /** Bytes; null when there is no such object. */
  size(uri: string): Promise<number | null>;
  /** The bytes `from` to `to`, both inclusive. The caller reads to the end, or destroys by ending the iteration. */
  read(uri: string, from: number, to: number): Promise<AsyncIterable<Uint8Array>>;
  /** Also when it is gone already. */
  remove(uri: string): Promise<void>;
  close(): void;
};

const SETTING = 'CALLYARD_RECORDINGS_URL';
const nothing = (): void => undefined;
const QUIET = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection on which nothing moves. */
const STALL_TIMEOUT_MS = 30_000;
const ANSWER_TIMEOUT_MS = 15_000;
/** An upload gets this long, and longer by its size at the slowest line we bear with. */
const PUT_TIMEOUT_MS = 60_000;
const SLOWEST_BYTES_PER_MS = 50;

/** `s3://bucket/prefix?endpoint=…&region=…&path_style=true`. Errors: E_CONFIG, without the credentials. */
export function parseStorageUrl(
  text: string,
  credentials: ObjectStorageSettings['credentials'],
): ObjectStorageSettings {
  const url = URL.parse(text);
  const refuse = (what: string): never => {
    throw new AppError('E_CONFIG', `${SETTING}: ${what}; it is s3://bucket/prefix?region=…`);
  };
  if (url === null || url.protocol !== 's3:' || url.hostname === '') return refuse('no bucket');
  if (url.username !== '' || url.password !== '') {
    return refuse('credentials belong into CALLYARD_S3_ACCESS_KEY_ID and _SECRET_ACCESS_KEY');
  }
  const known = new Set(['endpoint', 'region', 'path_style']);
  const unknown = [...url.searchParams.keys()].find((name) => !known.has(name));
  if (unknown !== undefined) return refuse(`unknown parameter ${unknown}`);
  const endpoint = url.searchParams.get('endpoint');
  if (endpoint !== null && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')) {
    return refuse('endpoint must be an http or https URL');
  }
  const pathStyle = url.searchParams.get('path_style') ?? 'false';
  if (!/^(?:true|false)$/.test(pathStyle)) return refuse('path_style is true or false');
  return {
    bucket: url.hostname,
    prefix: decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, ''),
    region: url.searchParams.get('region') ?? 'us-east-1',
    endpoint,
    pathStyle: pathStyle === 'true',
    credentials,
  };
}

/** Errors: E_CONFIG when the client is not installed. */
export async function openObjectStorage(
  settings: ObjectStorageSettings,
  clock: Clock = systemClock,
): Promise<ObjectStorage> {
  const s3 = await loadClient();
  const client = new s3.S3Client({
    region: settings.region,
    forcePathStyle: settings.pathStyle,
    ...(settings.endpoint === null ? {} : { endpoint: settings.endpoint }),
    ...(settings.credentials === null ? {} : { credentials: settings.credentials }),
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: STALL_TIMEOUT_MS,
    },
    maxAttempts: 2,
    // Without one it writes to the console; what fails is told by whoever asked.
    logger: QUIET,
    // The default adds trailers that stores other than Amazon's do not take.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const within = <T>(ms: number, what: string, work: (signal: AbortSignal) => Promise<T>) =>
    answerWithin(clock, ms, what, work);
  return {
    uriOf: (name) => uriOf(settings, name),
    async putFile(name, path, signal) {
      const uri = uriOf(settings, name);
      const size = await sizeOf(path);
      const timeoutMs = Math.round(PUT_TIMEOUT_MS + size / SLOWEST_BYTES_PER_MS);
      await within(timeoutMs, 'storing a recording', async (late) => {
        const Body = createReadStream(path);
        const abortSignal = signal === undefined ? late : AbortSignal.any([late, signal]);
        try {
          const put = { ...placeOf(uri), Body, ContentLength: size };
          await client.send(new s3.PutObjectCommand(put), { abortSignal });
        } finally {
          Body.destroy();
        }
      });
      return uri;
    },
    size: (uri) =>
      within(ANSWER_TIMEOUT_MS, 'looking for a recording', async (abortSignal) => {
        try {
          const head = await client.send(new s3.HeadObjectCommand(placeOf(uri)), { abortSignal });
          return head.ContentLength ?? 0;
        } catch (error) {
          if (isMissing(error)) return null;
          throw error;
        }
      }),
    read: (uri, from, to) =>
      within(ANSWER_TIMEOUT_MS, 'reading a recording', async (abortSignal) => {
        const get = { ...placeOf(uri), Range: `bytes=${from}-${to}` };
        const { Body } = await client.send(new s3.GetObjectCommand(get), { abortSignal });
        if (Body === undefined) throw new Error('the store answered without a body');
        return Body as unknown as AsyncIterable<Uint8Array>;
      }),
    async remove(uri) {
      await within(ANSWER_TIMEOUT_MS, 'removing a recording', async (abortSignal) => {
        try {
          await client.send(new s3.DeleteObjectCommand(placeOf(uri)), { abortSignal });
        } catch (error) {
          if (!isMissing(error)) throw error;
        }
      });
    },
    close: () => client.destroy(),
  };
}

async function loadClient(): Promise<typeof S3> {
  try {
    return await import('@aws-sdk/client-s3');
  } catch (error) {
    throw new AppError(
      'E_CONFIG',
      `${SETTING} names a bucket, and the optional package @aws-sdk/client-s3 is not installed`,
      { cause: error },
    );
  }
}

/** `work`, stopped when it takes too long; what it rejects with becomes E_STORAGE. */
async function answerWithin<T>(
  clock: Clock,
  timeoutMs: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const giveUp = new AbortController();
  const timer = clock.setTimer(() => giveUp.abort(), timeoutMs);
  try {
    return await work(giveUp.signal);
  } catch (error) {
    const why = giveUp.signal.aborted ? `no answer in ${timeoutMs} ms` : messageOf(error);
    throw new AppError('E_STORAGE', `${what} failed: ${why}`, { cause: error });
  } finally {
    clock.clearTimer(timer);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw new AppError('E_MEDIA', 'a recording cannot be read', { cause: error });
  }
}

function uriOf({ bucket, prefix }: ObjectStorageSettings, name: string): string {
  return `s3://${bucket}/${prefix === '' ? name : `${prefix}/${name}`}`;
}

function placeOf(uri: string): { Bucket: string; Key: string } {
  const [, Bucket = '', Key = ''] = /^s3:\/\/([^/]+)\/(.+)$/.exec(uri) ?? [];
  if (Key === '') throw new AppError('E_MEDIA', 'a recording has no usable place');
  return { Bucket, Key };
}

function isMissing(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  return status === 404;
}
