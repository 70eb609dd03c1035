/**
 * One session with a server of tools (Model Context Protocol, streamable HTTP). The kept SDK speaks the protocol, over
 * our own guarded fetch: no address inside, a bound on every answer, each request signed like any tool's.
 */
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import type { jsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/types.js';
import type { Clock } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import { newId, type Id } from '#lib/ids.ts';
import { guardedFetch, type GuardedRequest } from '#lib/safe-fetch.ts';
import { signatureHeaders } from '#lib/webhook-signature.ts';
import type { ToolSecrets } from './http-tools.ts';

/** What is loaded of the SDK, when an agent has such a server. */
export type McpSdk = {
  readonly Client: typeof Client;
  readonly StreamableHTTPClientTransport: typeof StreamableHTTPClientTransport;
};

export type McpOptions = {
  readonly secrets: ToolSecrets;
  readonly allowPrivate: readonly string[];
  readonly userAgent: string;
  readonly clock: Clock;
  readonly resolve?: GuardedRequest['resolve'];
};

export type McpTool = {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
};

export type McpSession = {
  /** Errors: AppError E_TIMEOUT, E_UNREACHABLE, E_REQUEST. */
  list(timeoutMs: number): Promise<McpTool[]>;
  /** Errors: as `list`. `id`: told as `_meta["callyard/id"]`, so that a server may know an order again. */
  call(
    wanted: { readonly id: Id; readonly name: string; readonly arguments: object },
    timeoutMs: number,
  ): Promise<CallToolResult>;
  close(): void;
};

const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_PAGES = 5;
const MAX_TOOLS = 128;
const MAX_DESCRIPTION_CHARS = 4_000;
const MAX_SCHEMA_CHARS = 32_768;
const GOODBYE_MS = 1_000;
/** Their answers have no body. */
const EMPTY = new Set([101, 204, 205, 304]);

/** Null when the optional package is not installed. */
export async function loadMcpSdk(): Promise<McpSdk | null> {
  try {
    const [client, transport] = await Promise.all([
      import('@modelcontextprotocol/sdk/client/index.js'),
      import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    ]);
    const { StreamableHTTPClientTransport: Transport } = transport;
    return { Client: client.Client, StreamableHTTPClientTransport: Transport };
  } catch (error) {
    const isMissing = (error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
    if (isMissing) return null;
    throw error;
  }
}

/** Errors: AppError E_TIMEOUT, E_UNREACHABLE, E_REQUEST, E_URL_NOT_ALLOWED. */
export async function openMcpSession(
  sdk: McpSdk,
  options: McpOptions,
  where: { readonly accountId: Id; readonly url: string; readonly timeoutMs: number },
): Promise<McpSession> {
  const { url, timeoutMs } = where;
  const end = new AbortController();
  const transport = new sdk.StreamableHTTPClientTransport(new URL(url), {
    fetch: guardedBy(options, where, end.signal),
  });
  // The SDK would check answers by a server's own schemas; models are told what there is.
  const anything: jsonSchemaValidator = {
    getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
  };
  const client = new sdk.Client(
    { name: 'callyard', version: options.userAgent.split('/')[1] ?? '0' },
    { capabilities: {}, jsonSchemaValidator: anything },
  );
  const close = (): void => {
    const gone = transport.sessionId === undefined ? undefined : transport.terminateSession();
    const over = (): void => end.abort();
    // The server is told that the session is over; whether it listens is its own business.
    void Promise.resolve(gone)
      .then(
        () => client.close(),
        () => client.close(), // it forgets the session by itself
      )
      .then(over, over);
  };
  try {
    await client.connect(transport, { timeout: timeoutMs });
  } catch (error) {
    close();
    throw faultOf(error);
  }
  return {
    async list(listMs) {
      const tools: McpTool[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < MAX_PAGES && tools.length < MAX_TOOLS; page++) {
        const found = await client
          .listTools(cursor === undefined ? {} : { cursor }, { timeout: listMs })
          .catch((error: unknown) => Promise.reject(faultOf(error)));
        tools.push(...found.tools.map(toolOf).filter((each) => each !== null));
        cursor = found.nextCursor;
        if (cursor === undefined) break;
      }
      return tools.slice(0, MAX_TOOLS);
    },
    async call({ id, name, arguments: given }, callMs) {
      const wanted = { name, arguments: { ...given }, _meta: { 'callyard/id': id } };
      try {
        const result = await client.callTool(wanted, undefined, { timeout: callMs });
        return result as CallToolResult;
      } catch (error) {
        throw faultOf(error);
      }
    },
    close,
  };
}

function toolOf(tool: {
  readonly name: string;
  readonly description?: string | undefined;
  readonly inputSchema: object;
}): McpTool | null {
  const { name, description = '', inputSchema } = tool;
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name)) return null;
  if (JSON.stringify(inputSchema).length > MAX_SCHEMA_CHARS) return null;
  const parameters = inputSchema as McpTool['parameters'];
  return { name, description: description.slice(0, MAX_DESCRIPTION_CHARS), parameters };
}

/** `fetch` as the SDK wants it. The body is read whole: a server ends its stream with the answer. */
function guardedBy(
  { secrets, allowPrivate, userAgent, clock, resolve }: McpOptions,
  { accountId }: { readonly accountId: Id },
  end: AbortSignal,
): (url: string | URL, init?: RequestInit) => Promise<Response> {
  return async (url, init = {}) => {
    const { method = 'GET', body } = init;
    // What a server says by itself, nobody here listens to.
    if (method === 'GET') return new Response(null, { status: 405 });
    const text = typeof body === 'string' ? body : '';
    const timestampS = Math.floor(clock.wallMs() / 1_000);
    const signed = signatureHeaders(
      { id: newId(), timestampS, body: text },
      await secrets.of(accountId),
    );
    const signals = [end, ...(init.signal == null ? [] : [init.signal])];
    const answer = await guardedFetch(String(url), {
      ...{ method, allowPrivate, clock, signal: AbortSignal.any(signals) },
      ...{ timeoutMs: method === 'DELETE' ? GOODBYE_MS : MAX_CALL_MS, maxBytes: MAX_ANSWER_BYTES },
      ...(text === '' ? {} : { body: text }),
      headers: {
        ...Object.fromEntries(new Headers(init.headers).entries()),
        'user-agent': userAgent,
        ...signed,
      },
      ...(resolve === undefined ? {} : { resolve }),
    });
    const headers = new Headers();
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const each of Array.isArray(value) ? value : [value ?? '']) headers.append(name, each);
    }
    const { status } = answer;
    return new Response(EMPTY.has(status) ? null : new Uint8Array(answer.body), {
      status,
      headers,
    });
  };
}

/** Above the deadline of any request; the SDK keeps those. */
const MAX_CALL_MS = 60_000;

/** What the SDK throws, in our words: a server's text may hold anything. */
function faultOf(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { code, name } = thrown as { code?: unknown; name?: unknown };
  // A tool may number its own errors as it likes: only the transport's are HTTP's.
  const status = name === 'McpError' ? null : code;
  if (code === -32_001)
    return new AppError('E_TIMEOUT', 'the server of the tool did not answer in time');
  if (status === 404)
    return new AppError('E_UNREACHABLE', 'the session is over', { details: { code: 404 } });
  if (typeof status === 'number' && status >= 300 && status < 600)
    return new AppError('E_UNREACHABLE', `the server of the tool answered ${status}`);
  const message = messageOf(thrown).slice(0, 500);
  return new AppError('E_REQUEST', `the server of the tool says: ${message}`, { cause: thrown });
}
