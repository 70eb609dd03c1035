/**
 * Functions of an agent that a server of the customer carries out: one signed POST, repeated once at most, with a key by
 * which the server knows that it is the same order (docs/tools.md).
 */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { guardedFetch, type GuardedAnswer, type GuardedRequest } from '#lib/safe-fetch.ts';
import { signatureHeaders } from '#lib/webhook-signature.ts';
import { answerOfBody, fault } from './answers.ts';
import type { HttpToolRequest, HttpTools } from './types.ts';

/** The account's secrets, the present one first. Errors: E_DATABASE*, E_CONFIG. */
export type ToolSecrets = { of(accountId: Id): Promise<readonly string[]> };

export type HttpToolsOptions = {
  readonly secrets: ToolSecrets;
  /** Networks besides the public internet. */
  readonly allowPrivate: readonly string[];
  readonly userAgent: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly resolve?: GuardedRequest['resolve'];
};

const MAX_BODY_BYTES = 64 * 1024;
const ATTEMPTS = 2;
const RETRY_AFTER_MS = 250;
/** Less than this is no time for a second attempt. */
const LEAST_MS = 50;
const RETRIED = new Set([429, 502, 503, 504]);
/** Of what a server says about its refusal. */
const MAX_DETAIL_BYTES = 2_000;
/** Requests of this process at a time; more are refused at once. */
const MAX_OPEN = 2_000;

export type RunningHttpTools = HttpTools & {
  /** Gives up what is under way. Idempotent. */
  close(): void;
};

export function createHttpTools(options: HttpToolsOptions): RunningHttpTools {
  const end = new AbortController();
  let open = 0;
  return {
    warmUp(accountId) {
      options.secrets.of(accountId).catch((error: unknown) => {
        options.log.debug('tool.secretUnread', { error: toAppError(error) });
      });
    },
    async call(request) {
      if (open >= MAX_OPEN) throw new AppError('E_QUEUE_FULL', 'too many tools are at work');
      open++;
      try {
        return await answered(options, request, end.signal);
      } finally {
        open--;
      }
    },
    close: () => end.abort(),
  };
}

async function answered(
  options: HttpToolsOptions,
  request: HttpToolRequest,
  signal: AbortSignal,
): Promise<string> {
  const { clock, log } = options;
  const untilMs = clock.now() + request.timeoutMs;
  const secrets = await secretsFor(options, request);
  const body = bodyOf(request, clock);
  for (let attempt = 1; ; attempt++) {
    const leftMs = Math.ceil(untilMs - clock.now());
    if (leftMs <= 0) throw late(request);
    const isLast = attempt === ATTEMPTS;
    try {
      const answer = await send(options, request, { body, secrets, timeoutMs: leftMs, signal });
      const pauseMs = RETRIED.has(answer.status) ? pauseOf(answer) : null;
      if (pauseMs === null || isLast || !hasTime(clock, untilMs, pauseMs)) return contentOf(answer);
      log.info('tool.repeated', { tool: request.name, toolCallId: request.id });
      await delay(pauseMs, signal, clock);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'E_TIMEOUT') throw late(request);
      const isRetried = error.code === 'E_UNREACHABLE' && !isLast;
      if (!isRetried || !hasTime(clock, untilMs, RETRY_AFTER_MS)) throw error;
      log.info('tool.repeated', { tool: request.name, toolCallId: request.id, error });
      await delay(RETRY_AFTER_MS, signal, clock);
    }
  }
}

async function secretsFor(
  { secrets, log }: HttpToolsOptions,
  { agent }: HttpToolRequest,
): Promise<readonly string[]> {
  try {
    return await secrets.of(agent.accountId);
  } catch (error) {
    // Unsigned it would be taken for somebody else's.
    log.error('tool.notSigned', { error: toAppError(error) });
    throw new AppError('E_DATABASE', 'the request could not be signed', { cause: error });
  }
}

function send(
  options: HttpToolsOptions,
  { url, id }: HttpToolRequest,
  how: {
    readonly body: string;
    readonly secrets: readonly string[];
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
  },
): Promise<GuardedAnswer> {
  const { clock, allowPrivate, userAgent, resolve } = options;
  const { body, secrets, timeoutMs, signal } = how;
  const timestampS = Math.floor(clock.wallMs() / 1_000);
  return guardedFetch(url, {
    ...{ method: 'POST', body, allowPrivate, clock, signal, timeoutMs },
    ...{ maxBytes: MAX_BODY_BYTES, whenTooLong: 'refuse' },
    headers: {
      'content-type': 'application/json; charset=utf-8',
      accept: 'application/json, text/plain;q=0.9',
      'user-agent': userAgent,
      'idempotency-key': id,
      ...signatureHeaders({ id, timestampS, body }, secrets),
    },
    ...(resolve === undefined ? {} : { resolve }),
  });
}

/** The same bytes at every attempt. */
function bodyOf(
  { id, name, arguments: given, agent, call }: HttpToolRequest,
  clock: Clock,
): string {
  return JSON.stringify({
    ...{ type: 'tool.call', id, time: new Date(clock.wallMs()).toISOString() },
    ...{ account_id: agent.accountId, agent_id: agent.id, agent_name: agent.name },
    ...{ call_id: call.id, conversation_id: call.id, name, arguments: given },
    call: {
      ...{ direction: call.direction, channel: call.channel },
      ...{ from: call.fromNumber, to: call.toNumber },
      ...{ caller_phone: call.callerPhone, caller_name: call.callerName },
      ...{ caller_app: call.callerApp, customer_id: call.customerId },
      ...{ campaign_id: call.campaignId, squad_id: call.squadId, start_time: call.startTime },
      ...{ variables: call.variables, metadata: call.metadata },
    },
  });
}

/** Anything but a 2xx is told as an error, with what the server says about it. */
function contentOf({ status, body }: GuardedAnswer): string {
  if (status >= 200 && status < 300) return answerOfBody(body);
  if (status >= 300 && status < 400)
    return fault(`the server answered ${status}, and redirects are not followed`);
  const detail = body.subarray(0, MAX_DETAIL_BYTES).toString('utf8').toWellFormed().trim();
  return fault(`the server answered ${status}`, detail === '' ? {} : { detail });
}

/** As the server wants it, within reason. */
function pauseOf({ headers }: GuardedAnswer): number {
  const seconds = Number(headers['retry-after']);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : RETRY_AFTER_MS;
}

function hasTime(clock: Clock, untilMs: number, pauseMs: number): boolean {
  return clock.now() + pauseMs + LEAST_MS < untilMs;
}

function late({ timeoutMs }: HttpToolRequest): AppError {
  return new AppError('E_TIMEOUT', `no answer within ${timeoutMs} ms: it may be carried out yet`);
}
