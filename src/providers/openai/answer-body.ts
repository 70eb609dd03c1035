/**
 * Some vendors refuse with HTTP 200 and say so in the body (providers.md 3.7), others put a code into a chunk: both are
 * made the errors that they are, before the client library takes the answer for an empty one.
 */
import { AppError, type ErrorCode } from '#lib/errors.ts';

const MAX_BODY_BYTES = 64 * 1024;
/** Of a line of a stream, and of all of it: nobody says that much, and the client library reads lines to any length. */
const MAX_LINE_BYTES = 256 * 1024;
const MAX_STREAM_BYTES = 8 * 1024 * 1024;
const NEWLINE = 10;

/** Vendors' numbers for what went wrong, where no HTTP status tells it; the first that fits. */
const BY_NUMBER: readonly (readonly [RegExp, ErrorCode])[] = [
  [/^(10013|10014|10019|1026|1027|1301)$/, 'E_PROVIDER_CONTENT'],
  [/^(10110|11200|1004|1008|1113|2049)$/, 'E_PROVIDER_AUTH'],
  [/^(11202|11203|10007|1002|1039|130[235])$/, 'E_PROVIDER_QUOTA'],
  [/^(10003|10004|10005|10907|1042|2013)$/, 'E_PROVIDER_PARAM'],
];

/** `fetch` for the client library. An answer that is JSON where a stream was asked for, and an error in it, gets a status. */
export async function fetchWithRefusals(
  input: string | URL | Request,
  init?: RequestInit,
): Promise<Response> {
  const response = await fetch(input, init);
  const type = response.headers.get('content-type') ?? '';
  if (response.body !== null && type.includes('event-stream')) {
    const { status, headers } = response;
    return new Response(response.body.pipeThrough(bounded()), { status, headers });
  }
  if (response.status !== 200 || !type.includes('json') || !asksForStream(init)) return response;
  const body = await readSome(response);
  return new Response(body, { status: isRefusal(body) ? 400 : 200, headers: response.headers });
}

/** Passes a stream on; one that is no conversation ends with E_PROVIDER_SERVER. */
function bounded(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let line = 0;
  let all = 0;
  return new TransformStream({
    transform(chunk, controller) {
      all += chunk.byteLength;
      const end = chunk.lastIndexOf(NEWLINE);
      const first = end < 0 ? chunk.byteLength : chunk.indexOf(NEWLINE);
      if (line + first > MAX_LINE_BYTES || all > MAX_STREAM_BYTES) {
        const what = 'language model: it sent more than anybody could say';
        controller.error(new AppError('E_PROVIDER_SERVER', what));
        return;
      }
      line = end < 0 ? line + chunk.byteLength : chunk.byteLength - end - 1;
      controller.enqueue(chunk);
    },
  });
}

/** An error that stands in a chunk of the stream; null: there is none. */
export function errorIn(chunk: object): AppError | null {
  const {
    code,
    message,
    base_resp: base,
  } = chunk as {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly base_resp?: { readonly status_code?: unknown; readonly status_msg?: unknown } | null;
  };
  const number = code ?? base?.status_code ?? 0;
  if (!isNumber(number) || Number(number) === 0) return null;
  const said = message ?? base?.status_msg;
  const text = typeof said === 'string' ? said.slice(0, 200) : `code ${number}`;
  return new AppError(codeOfNumber(String(number)), `language model: ${text}`, {
    details: { vendorCode: String(number) },
  });
}

export function codeOfNumber(number: string): ErrorCode {
  return BY_NUMBER.find(([pattern]) => pattern.test(number))?.[1] ?? 'E_PROVIDER_SERVER';
}

function isNumber(value: unknown): value is string | number {
  return typeof value === 'number' || (typeof value === 'string' && /^-?\d+$/.test(value));
}

function asksForStream(init: RequestInit | undefined): boolean {
  return typeof init?.body === 'string' && init.body.includes('"stream":true');
}

async function readSome(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function isRefusal(body: string): boolean {
  try {
    const { error, code, choices } = JSON.parse(body) as Record<string, unknown>;
    return (error ?? null) !== null || (choices === undefined && (code ?? 0) !== 0);
  } catch {
    return false; // what it is, the client library will say
  }
}
