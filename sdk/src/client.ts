/**
 * The Callyard HTTP API as typed functions. Paths, parameters, bodies and answers are those of the OpenAPI document that
 * the server publishes (`schema.ts` is generated from it), so a wrong field is an error while you type.
 *
 *     const callyard = createCallyard({ baseUrl: 'http://127.0.0.1:8080', token: 'cy_…' });
 *     const call = dataOf(await callyard.POST('/v1/phone/calls', { body: { to: '+15550100' } }));
 */
import createFetchClient, { type Client } from 'openapi-fetch';
import type { paths } from './schema.ts';

export type { components, operations, paths } from './schema.ts';

export type CallyardOptions = {
  /** Where the server is, without a path: `https://calls.example.com`. */
  readonly baseUrl: string;
  /** An API key or a JWT, or a function that gives the one to use now. */
  readonly token: string | (() => string | Promise<string>);
  /** Acts on this account instead of the token's own. */
  readonly accountId?: string;
  /** Language of messages for people, e.g. `zh-CN`. */
  readonly language?: string;
  /** Longest wait for one answer, milliseconds; default 30,000. */
  readonly timeoutMs?: number;
  /** Replaces the runtime's own `fetch`. */
  readonly fetch?: (request: Request) => Promise<Response>;
};

export type Callyard = Client<paths, 'application/json'>;

const DEFAULT_TIMEOUT_MS = 30_000;

/** A client: `GET`, `POST`, `PUT`, `PATCH` and `DELETE` take a path of the document and what belongs to it. */
export function createCallyard(options: CallyardOptions): Callyard {
  const { baseUrl, token, accountId, language, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const send = options.fetch ?? ((request: Request) => globalThis.fetch(request));
  const client = createFetchClient<paths>({
    baseUrl: baseUrl.replace(/\/+$/, ''),
    fetch: (request) => send(withDeadline(request, timeoutMs)),
  });
  client.use({
    async onRequest({ request }) {
      request.headers.set(
        'authorization',
        `Bearer ${typeof token === 'string' ? token : await token()}`,
      );
      if (accountId !== undefined) request.headers.set('x-account-id', accountId);
      if (language !== undefined) request.headers.set('accept-language', language);
      return request;
    },
  });
  return client as Callyard;
}

/** What the server refused. A failure on the way to it is the error of `fetch` itself. */
export class CallyardError extends Error {
  override readonly name = 'CallyardError';
  /** For programs; see the error table of the API guide. */
  readonly code: string;
  readonly status: number;
  /** Field by field what was wrong, for `VALIDATION_FAILED`. */
  readonly details: readonly unknown[];
  /** To name in a question to the operator. */
  readonly requestId: string | null;
  /** Seconds after which another try may help. */
  readonly retryAfterS: number | null;

  constructor(facts: {
    readonly code: string;
    readonly message: string;
    readonly status: number;
    readonly details?: readonly unknown[];
    readonly requestId?: string | null;
    readonly retryAfterS?: number | null;
  }) {
    super(facts.message);
    this.code = facts.code;
    this.status = facts.status;
    this.details = facts.details ?? [];
    this.requestId = facts.requestId ?? null;
    this.retryAfterS = facts.retryAfterS ?? null;
  }
}

/** `data` is missing in the types of answers whose data is null. */
type Envelope<T> = { readonly success: true; readonly data?: T };

/** The `data` of an answer. Errors: CallyardError for every refusal. */
export function dataOf<T>(result: {
  readonly data?: Envelope<T> | undefined;
  readonly error?: unknown;
  readonly response: Response;
}): T {
  const { data, error, response } = result;
  if (data !== undefined && data.success) return data.data as T;
  throw errorOf(error, response);
}

/** The refusal of an answer as an error. */
export function errorOf(body: unknown, response: Response): CallyardError {
  const failure = failureIn(body);
  const retryAfter = response.headers.get('retry-after');
  return new CallyardError({
    code: failure?.code ?? 'UNKNOWN',
    message: failure?.message ?? `HTTP ${response.status}`,
    status: response.status,
    details: Array.isArray(failure?.details) ? failure.details : [],
    requestId: response.headers.get('x-request-id'),
    retryAfterS: retryAfter === null ? null : Number(retryAfter),
  });
}

function failureIn(body: unknown): { code: string; message: string; details?: unknown } | null {
  if (typeof body !== 'object' || body === null || !('error' in body)) return null;
  const { error } = body;
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return error as { code: string; message: string; details?: unknown };
}

function withDeadline(request: Request, timeoutMs: number): Request {
  return new Request(request, {
    signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)]),
  });
}
